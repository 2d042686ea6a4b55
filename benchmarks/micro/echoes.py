"""One message through a loop and back, client and server in one process: what it costs beside the kernel's part.

For counting instructions (``benchmarks/instructions.py``). The client is a plain socket, and the bytes are there before
the loop asks, so each message takes the same number of turns on each loop.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import repeat
from time import perf_counter_ns

MESSAGE = b"x" * 1024
TURNS = 3

Begin = Callable[[asyncio.AbstractEventLoop, socket.socket], Awaitable[object]]


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class EchoIntoBuffer(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.buffer = bytearray(4096)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.write = transport.write

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.write(self.buffer[:nbytes])


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data)


async def by_protocol(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    return await loop.create_connection(Echo, sock=ours)


async def by_buffer(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    return await loop.create_connection(EchoIntoBuffer, sock=ours)


async def by_streams(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    reader, writer = await asyncio.open_connection(sock=ours)

    async def answer() -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()

    return loop.create_task(answer()), writer


async def by_sock_methods(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    async def answer() -> None:
        while data := await loop.sock_recv(ours, 4096):
            await loop.sock_sendall(ours, data)

    return loop.create_task(answer())


async def by_datagrams(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    return await loop.create_datagram_endpoint(EchoDatagrams, sock=ours)


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


def udp() -> tuple[socket.socket, socket.socket]:
    pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for one in pair:
        one.bind(("127.0.0.1", 0))
    pair[0].connect(pair[1].getsockname())
    pair[1].connect(pair[0].getsockname())
    return pair[0], pair[1]


#: Name, what makes the two sockets, and what answers at one of them.
ECHOES: dict[str, tuple[Callable[[], tuple[socket.socket, socket.socket]], Begin]] = {
    "echo_protocol": (tcp, by_protocol),
    "echo_buffered_protocol": (tcp, by_buffer),
    "echo_streams": (tcp, by_streams),
    "echo_sock": (tcp, by_sock_methods),
    "echo_datagrams": (udp, by_datagrams),
}


async def echo(name: str, loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    """Nanoseconds for *rounds* messages."""
    make, begin_answering = ECHOES[name]
    ours, theirs = make()
    ours.setblocking(False)
    theirs.settimeout(5)
    answering = await begin_answering(loop, ours)
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        theirs.send(MESSAGE)
        for _ in repeat(None, TURNS):
            await asyncio.sleep(0)
        if len(theirs.recv(4096)) != len(MESSAGE):
            raise RuntimeError("the answer is not the message")
    elapsed = perf_counter_ns() - begin
    theirs.close()
    await asyncio.sleep(0.01)
    del answering
    return elapsed
