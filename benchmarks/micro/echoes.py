"""One message through a loop and back, client and server in one process: what it costs beside the kernel's part.

For counting instructions (``benchmarks/instructions.py``). The client is a plain socket, and the bytes are there before
the loop asks, so each message takes the same number of turns on each loop.
"""

import asyncio
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from functools import cache
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns

from . import waiting

MESSAGE = b"x" * 1023 + b"\n"
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
    reader, writer = await waiting.namespace.open_connection(sock=ours)

    async def answer() -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()

    return loop.create_task(answer()), writer


async def by_lines(loop: asyncio.AbstractEventLoop, ours: socket.socket) -> object:
    reader, writer = await waiting.namespace.open_connection(sock=ours)

    async def answer() -> None:
        while line := await reader.readline():
            writer.write(line)
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
    "echo_readline": (tcp, by_lines),
    "echo_sock": (tcp, by_sock_methods),
    "echo_datagrams": (udp, by_datagrams),
}


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's, which trusts everybody. The certificate is made by ``openssl``."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout"
        )
        subprocess.run([*command.split(), key, "-out", certificate], check=True, capture_output=True)
        server.load_cert_chain(certificate, key)
    return server, client


class TlsPeer:
    """The client's end of a connection over TLS: a plain socket, and a TLS object over memory."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.incoming, self.outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls_contexts()[1].wrap_bio(self.incoming, self.outgoing)

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.send(self.outgoing.read())
                for _ in repeat(None, TURNS):
                    await asyncio.sleep(0)
                self.incoming.write(self.sock.recv(1 << 16))
            else:
                self.sock.send(self.outgoing.read())
                return

    def send(self, message: bytes) -> None:
        self.tls.write(message)
        self.sock.sendall(self.outgoing.read())

    def receive(self, size: int) -> int:
        """How many bytes are there, *size* at the most."""
        self.incoming.write(self.sock.recv(1 << 18))
        count = 0
        while self.incoming.pending or self.tls.pending():
            try:
                count += len(self.tls.read(size))
            except ssl.SSLWantReadError:
                break
        return count


#: Name, what answers, and the length of the message.
TLS_ECHOES: dict[str, tuple[str, int]] = {
    "echo_tls_protocol": ("protocol", 1024),
    "echo_tls_protocol_16k": ("protocol", 16 * 1024),
    "echo_tls_protocol_64k": ("protocol", 64 * 1024),
    "echo_tls_buffered": ("buffered", 1024),
    "echo_tls_buffered_64k": ("buffered", 64 * 1024),
    "echo_tls_streams": ("streams", 1024),
    "echo_tls_streams_64k": ("streams", 64 * 1024),
}


class EchoIntoLargeBuffer(EchoIntoBuffer):
    def __init__(self) -> None:
        self.buffer = bytearray(1 << 18)


async def echo_over_tls(name: str, loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    """Nanoseconds for *rounds* messages."""
    api, size = TLS_ECHOES[name]
    server, _ = tls_contexts()
    ours, theirs = tcp()
    ours.setblocking(False)
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    theirs.settimeout(5)
    peer = TlsPeer(theirs)
    shaking = loop.create_task(peer.shake_hands())
    if api == "streams":
        reader = asyncio.StreamReader(limit=1 << 18, loop=loop)
        protocol: asyncio.BaseProtocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    else:
        protocol = Echo() if api == "protocol" else EchoIntoLargeBuffer()
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours, ssl=server)
    await shaking
    if api == "streams":
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)

        async def answer() -> None:
            while data := await reader.read(1 << 18):
                writer.write(data)
                await writer.drain()

        answering = loop.create_task(answer())
    message = b"x" * size
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        peer.send(message)
        missing = size
        while missing:
            for _ in repeat(None, TURNS):
                await asyncio.sleep(0)
            missing -= peer.receive(missing)
    elapsed = perf_counter_ns() - begin
    transport.abort()
    theirs.close()
    await asyncio.sleep(0.01)
    if api == "streams":
        answering.cancel()
    return elapsed


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
