"""Opens many keep-alive connections to the service, holds them all, and asks again on every one.

    python -m ferrio examples/demo/hold_connections.py http://127.0.0.1:8000 1000

Prints one JSON object after each round; waits for a line on stdin before the second.
"""

import asyncio
import json
import resource
import sys
import time
from urllib.parse import urlsplit

#: Connections being opened or asked at once; the service's backlog is finite.
AT_ONCE = 100
LIMIT_S = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(connection: Connection, host: str, number: int) -> bool:
    """Whether the service answers a request for page *number* on *connection*, with that page."""
    reader, writer = connection
    writer.write(f"GET /api/pages/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    body = json.loads(await reader.readexactly(int(fields[b"content-length"])))
    return head.startswith(b"HTTP/1.1 200") and body["number"] == number


async def main(base: str, count: int) -> None:
    address = urlsplit(base)
    host, port = address.hostname, address.port
    assert host is not None
    slots = asyncio.Semaphore(AT_ONCE)
    connections: dict[int, Connection] = {}

    async def open_one(number: int) -> None:
        async with slots:
            connections[number] = await asyncio.open_connection(host, port)

    async def answered(number: int) -> bool:
        async with slots:
            try:
                async with asyncio.timeout(LIMIT_S):
                    return await ask(connections[number], host, number)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                return False

    async def round_of_requests(name: str) -> None:
        started = time.perf_counter()
        alive = sum(await asyncio.gather(*(answered(number) for number in connections)))
        loop = type(asyncio.get_running_loop())
        report = {
            "round": name,
            "open": len(connections),
            "alive": alive,
            "seconds": time.perf_counter() - started,
            "loop": f"{loop.__module__}.{loop.__qualname__}",
        }
        print(json.dumps(report), flush=True)

    await asyncio.gather(*(open_one(number) for number in range(count)))
    await round_of_requests("first")
    await asyncio.to_thread(sys.stdin.readline)
    await round_of_requests("second")
    for _, writer in connections.values():
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in connections.values()), return_exceptions=True)


if __name__ == "__main__":
    wanted = int(sys.argv[2]) + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
