"""An echo server that runs out of descriptors; run by a test as a process of its own.

Prints its port, then a line for each report to the loop's exception handler, and ends when stdin does.
"""

import asyncio
import os
import resource
import sys
from typing import Any

from loops_compared import new_loop_under_test

#: Room for the interpreter and the loop, and for some connections.
DESCRIPTORS = 40


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    number = error.errno if isinstance(error, OSError) else None
    print("report", number, sorted(context), context["message"], sep="|", flush=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=100)
    stdin_ended = loop.create_future()
    loop.add_reader(0, lambda: os.read(0, 1) or stdin_ended.done() or stdin_ended.set_result(None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    print("port", server.sockets[0].getsockname()[1], sep="|", flush=True)
    await stdin_ended
    loop.remove_reader(0)
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop_under_test) as runner:
        runner.run(main())
    sys.stdout.close()
