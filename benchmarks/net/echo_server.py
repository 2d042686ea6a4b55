"""An echo server on one event loop and one of asyncio's five ways to do I/O.

    python benchmarks/net/echo_server.py --loop uvloop --api streams [--core 0] [--unix PATH | --tls]

Prints ``port N`` (or ``path PATH``) when it listens, and serves until a signal ends it. Its CPU time is read
from outside, by its process clock, so nothing but the echo runs in it.

The ways: ``protocol`` writes each ``data_received`` back; ``buffered`` is a ``BufferedProtocol`` with one buffer for
each connection, which writes what arrives back as ``bytes``; ``streams`` is ``read`` + ``write`` + ``drain``;
``readline`` is ``readline`` + ``write`` + ``drain``; ``sock`` is ``sock_recv`` + ``sock_sendall``. All have
TCP_NODELAY set. With ``--tls`` the first four speak TLS.
"""

import argparse
import asyncio
import os
import resource
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import loops
from micro.echoes import tls_contexts

READ_BYTES = 64 * 1024
#: One more than the largest line that a case sends.
LINE_LIMIT_BYTES = 1024 * 1024
#: What asyncio asks the kernel for at once.
BUFFER_BYTES = 256 * 1024


class Echo(asyncio.Protocol):
    """Writes back what arrives."""

    __slots__ = ("transport",)

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a stream transport, as create_server promises

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Writes back what arrives in its buffer. A transport may keep what it is given, so that is a copy."""

    __slots__ = ("buffer", "transport")

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a stream transport, as create_server promises
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


async def echo_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def serve_protocol(
    listener: socket.socket, factory: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext | None
) -> None:
    loop = asyncio.get_running_loop()
    make_server = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
    await (await make_server(factory, sock=listener, ssl=tls)).serve_forever()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve_streams(
    listener: socket.socket, handler: Handler, namespace: ModuleType, tls: ssl.SSLContext | None
) -> None:
    start = namespace.start_unix_server if listener.family == socket.AF_UNIX else namespace.start_server
    await (await start(handler, sock=listener, limit=LINE_LIMIT_BYTES, ssl=tls)).serve_forever()


async def echo_sock(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        while data := await loop.sock_recv(connection, READ_BYTES):
            await loop.sock_sendall(connection, data)


async def serve_sock(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    tasks = set()
    while True:
        connection, _ = await loop.sock_accept(listener)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = loop.create_task(echo_sock(connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


#: With the module that stands for asyncio.
SERVE: dict[str, Callable[[socket.socket, ModuleType, ssl.SSLContext | None], Awaitable[None]]] = {
    "protocol": lambda listener, _, tls: serve_protocol(listener, Echo, tls),
    "buffered": lambda listener, _, tls: serve_protocol(listener, BufferedEcho, tls),
    "streams": lambda listener, namespace, tls: serve_streams(listener, echo_streams, namespace, tls),
    "readline": lambda listener, namespace, tls: serve_streams(listener, echo_lines, namespace, tls),
    "sock": lambda listener, _namespace, _tls: serve_sock(listener),
}


def listen(path: str | None) -> socket.socket:
    """Bind, listen and announce the address. The backlog holds every client that connects at once."""
    if path is not None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
    else:
        listener = socket.socket(socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listener.setblocking(False)
    print(f"path {path}" if path is not None else f"port {listener.getsockname()[1]}", flush=True)
    return listener


async def serve(api: str, path: str | None, namespace: ModuleType, tls: ssl.SSLContext | None) -> None:
    await SERVE[api](listen(path), namespace, tls)


def raise_descriptor_limit() -> None:
    """As many descriptors as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, choices=[*loops.NAMES, loops.AIOFASTNET])
    parser.add_argument("--api", required=True, choices=SERVE)
    parser.add_argument("--core", type=int, help="run on this CPU only")
    parser.add_argument("--unix", metavar="PATH", help="listen here instead of on a TCP port")
    parser.add_argument("--tls", action="store_true", help="speak TLS, with a certificate made for the run")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    raise_descriptor_limit()
    tls = tls_contexts()[0] if options.tls else None
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(options.loop)) as runner:
        runner.run(serve(options.api, options.unix, loops.namespace(options.loop), tls))


if __name__ == "__main__":
    main()
