"""What a loop itself does, at three sizes each: connections, streams, TLS, tasks, timers. Knows only asyncio.

    python -m ferrio examples/demo/loop_work.py CERTIFICATE_AND_KEY

Prints one JSON object: the loop's class, and for each kind of work and each size the cost of one operation: CPU
microseconds of this process, in which both ends of every connection are, or bytes of its resident memory. A kind that
needs more descriptors than this process may open is left out.
"""

import asyncio
import json
import os
import resource
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

#: A figure is the mean of as many batches as take this long.
LEAST_S = 0.08
#: Connections over which messages travel at the same time, and connections opened at the same time.
TALKING, OPENING = 20, 50

CONNECTIONS_HELD = (300, 1_000, 3_000)
CONNECTIONS_MADE = (10, 100, 1_000)
MESSAGE_BYTES = (100, 1_024, 65_536)
AT_ONCE = (100, 10_000, 100_000)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Costs = dict[int, float]


async def cpu_us(batch: Callable[[], Awaitable[None]], operations: int) -> float:
    """CPU time of one of the *operations* of a batch; the first batch warms up and does not count."""
    await batch()
    batches, began = 0, time.process_time()
    while (taken := time.process_time() - began) < LEAST_S:
        await batch()
        batches += 1
    return taken / batches / operations * 1e6


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def close(streams: list[Stream]) -> None:
    for _, writer in streams:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in streams))


class Held:
    """A server whose connections stay open until the client closes, and the clients' ends."""

    async def __aenter__(self) -> "Held":
        self.served = 0
        self.none_left = asyncio.Event()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1_024)
        self.port = self.server.sockets[0].getsockname()[1]
        self.streams: list[Stream] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        self.none_left.clear()
        writer.write(b".")  # whoever has received it knows that both ends are there
        await reader.read()
        writer.close()
        self.served -= 1
        if not self.served:
            self.none_left.set()

    async def open_one(self) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await reader.readexactly(1)
        return reader, writer

    async def hold(self, count: int) -> None:
        """Open connections until there are *count*."""
        while (missing := count - len(self.streams)) > 0:
            self.streams += await asyncio.gather(*(self.open_one() for _ in range(min(missing, OPENING))))

    async def drop(self) -> None:
        if self.streams:
            await close(self.streams)
            self.streams = []
            await self.none_left.wait()


async def connections_held() -> Costs:
    """Bytes of both ends of an open connection. Comes first: later, memory that was freed before would be used."""
    costs = {}
    async with Held() as held:
        await held.hold(OPENING)
        await held.drop()
        before = resident_bytes()
        for count in CONNECTIONS_HELD:
            await held.hold(count)
            costs[count] = (resident_bytes() - before) / count
    return costs


async def connections_made() -> Costs:
    """Connect, accept, one byte, close both ends; as many are open before the first is closed."""
    async with Held() as held:

        async def batch() -> None:
            await held.hold(count)
            await held.drop()

        costs = {}
        for count in CONNECTIONS_MADE:
            costs[count] = await cpu_us(batch, count)
    return costs


async def echoes(certificate: str | None) -> Costs:
    """A message there and back through streams, over TLS if there is a certificate."""
    at_server = at_client = None
    if certificate is not None:
        at_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        at_server.load_cert_chain(certificate)
        at_client = ssl.create_default_context(cafile=certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
        writer.close()

    async def talk(stream: Stream) -> None:
        stream[1].write(message)
        await stream[0].readexactly(len(message))

    async def batch() -> None:
        await asyncio.gather(*map(talk, streams))

    costs = {}
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=at_server) as server:
        port = server.sockets[0].getsockname()[1]
        name = "localhost" if at_client else None
        opening = (
            asyncio.open_connection("127.0.0.1", port, ssl=at_client, server_hostname=name) for _ in range(TALKING)
        )
        streams = list(await asyncio.gather(*opening))
        for size in MESSAGE_BYTES:
            message = bytes(size)
            costs[size] = await cpu_us(batch, TALKING)
        await close(streams)
    return costs


async def tasks() -> Costs:
    """Spawn a task and await it; so many are there at the same time."""

    async def nothing() -> None:
        pass

    async def batch() -> None:
        for task in [asyncio.create_task(nothing()) for _ in range(count)]:
            await task

    costs = {}
    for count in AT_ONCE:
        costs[count] = await cpu_us(batch, count)
    return costs


async def timers() -> Costs:
    """Set a timer and cancel it, as every timeout does that is not reached; so many are pending."""
    loop = asyncio.get_running_loop()

    async def batch() -> None:
        for timer in [loop.call_later(60, time.monotonic) for _ in range(count)]:
            timer.cancel()
        await asyncio.sleep(0)

    costs = {}
    for count in AT_ONCE:
        costs[count] = await cpu_us(batch, count)
    return costs


async def main(certificate: str) -> None:
    costs = {}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * max(*CONNECTIONS_HELD, *CONNECTIONS_MADE) + 64
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if wanted <= hard:
        costs["memory"] = await connections_held()
        costs["connections"] = await connections_made()
    costs["streams"] = await echoes(None)
    costs["tls"] = await echoes(certificate)
    costs["tasks"] = await tasks()
    costs["timers"] = await timers()
    loop = type(asyncio.get_running_loop())
    print(json.dumps({"loop": f"{loop.__module__}.{loop.__qualname__}", "costs": costs}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
