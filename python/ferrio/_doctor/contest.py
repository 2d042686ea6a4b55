"""What a few operations cost on one event loop: a program for the doctor, run in an interpreter of its own.

    python contest.py MODULE SECONDS

MODULE is `asyncio`, or a module with `new_event_loop()`; importing it may change asyncio, so nothing of Ferrio is
imported here. Prints one JSON object: the name of each operation and its CPU time in nanoseconds, both ends together
where there are two.
"""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable

SIZE = 1024


async def call_soon(count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call(left: int) -> None:
        if left:
            loop.call_soon(call, left - 1)
        else:
            done.set_result(None)

    loop.call_soon(call, count)
    await done


async def timers(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        loop.call_later(60, print).cancel()


async def nothing() -> None:
    pass


async def tasks(count: int) -> None:
    create_task = asyncio.get_running_loop().create_task
    for _ in range(count):
        await create_task(nothing())


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Client(Echo):
    def __init__(self, count: int, done: "asyncio.Future[None]") -> None:
        self.left, self.done, self.missing = count, done, SIZE

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing <= 0:
            self.left, self.missing = self.left - 1, SIZE
            if self.left > 0:
                self.write(bytes(SIZE))
            elif not self.done.done():
                self.done.set_result(None)


async def protocols(count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, client = await loop.create_connection(lambda: Client(count, done), *address)
    client.write(bytes(SIZE))
    await done
    transport.close()
    server.close()
    await asyncio.sleep(0)


async def streams(count: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(SIZE):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(count):
        writer.write(bytes(SIZE))
        await reader.readexactly(SIZE)
    writer.close()
    server.close()
    await asyncio.sleep(0)


OPERATIONS: dict[str, Callable[[int], Awaitable[None]]] = {
    "call_soon": call_soon,
    "call_later, cancel": timers,
    "task, awaited": tasks,
    "echo of 1 KiB, Protocol": protocols,
    "echo of 1 KiB, streams": streams,
}


def measure(loop: asyncio.AbstractEventLoop, operation: Callable[[int], Awaitable[None]], seconds: float) -> float:
    """Nanoseconds of CPU that one *operation* takes, after a first run of the same length."""
    count = 100
    while True:
        start = time.process_time_ns()
        loop.run_until_complete(operation(count))
        spent = time.process_time_ns() - start
        if spent >= seconds / 3 * 1e9:
            break
        count *= 3
    start = time.process_time_ns()
    loop.run_until_complete(operation(count))
    return (time.process_time_ns() - start) / count


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    loop: asyncio.AbstractEventLoop = (
        asyncio.SelectorEventLoop() if name == "asyncio" else importlib.import_module(name).new_event_loop()
    )
    asyncio.set_event_loop(loop)
    print(json.dumps({what: measure(loop, operation, seconds) for what, operation in OPERATIONS.items()}))


if __name__ == "__main__":
    main()
