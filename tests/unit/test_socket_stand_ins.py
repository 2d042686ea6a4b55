"""Objects in place of ``socket.socket``: their methods are called as asyncio calls them."""

import asyncio
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from ferrio import _ferrio

from .connections import Recorder
from .datagrams.endpoints import Recorder as DatagramRecorder
from .loops import ferrio_only, run, run_until
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop


class Loud(socket.socket):
    """A socket class that records its calls and turns what passes through it into capitals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[str] = []

    def recv(self, *args: Any) -> bytes:
        self.calls.append("recv")
        return super().recv(*args).upper()

    def recv_into(self, buffer: Any, *args: Any) -> int:
        self.calls.append("recv_into")
        count = super().recv_into(buffer, *args)
        buffer[:count] = bytes(buffer[:count]).upper()
        return count

    def recvfrom(self, *args: Any) -> Any:
        self.calls.append("recvfrom")
        data, address = super().recvfrom(*args)
        return data.upper(), address

    def send(self, data: Any, *args: Any) -> int:
        self.calls.append("send")
        return super().send(bytes(data).upper(), *args)

    def sendmsg(self, buffers: Any, *args: Any) -> int:
        self.calls.append("sendmsg")
        return super().sendmsg([bytes(data).upper() for data in buffers], *args)

    def sendto(self, data: Any, *args: Any) -> int:
        self.calls.append("sendto")
        return super().sendto(bytes(data).upper(), *args)

    def accept(self) -> Any:
        self.calls.append("accept")
        connection, address = super().accept()
        return loud(connection), address


def loud(sock: socket.socket) -> Loud:
    return Loud(sock.family, sock.type, sock.proto, fileno=sock.detach())


class Stands:
    """An object that is not a socket and delegates everything to one."""

    def __init__(self, sock: socket.socket) -> None:
        self.real = loud(sock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


MAKERS = {"subclass": loud, "stand-in": Stands}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Any, socket.socket]]:
    """A stand-in, and the plain socket that it is connected to."""
    ours, theirs = tcp_pair()
    sock = request.param(ours)
    sock.setblocking(False)
    yield sock, theirs
    sock.close()
    theirs.close()


def said(sock: socket.socket, count: int) -> bytes:
    sock.settimeout(5)
    return sock.recv(count, socket.MSG_WAITALL)


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: socket.socket) -> None:
    peer.send(b"question")
    assert await reader.readexactly(8) == b"QUESTION"
    writer.write(b"an")
    writer.writelines([b"sw", b"er"])
    await writer.drain()
    assert said(peer, 6) == b"ANSWER"
    writer.close()
    await writer.wait_closed()


def test_a_stream_calls_the_methods(loop: Loop, ends: Any) -> None:
    sock, peer = ends

    async def main() -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        await exchange(reader, writer, peer)

    run(loop, main())


def test_an_accepted_socket_calls_the_methods(loop: Loop, ends: Any) -> None:
    sock, peer = ends

    async def main() -> None:
        reader = asyncio.StreamReader()
        transport, protocol = await loop.connect_accepted_socket(lambda: asyncio.StreamReaderProtocol(reader), sock)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await exchange(reader, writer, peer)

    run(loop, main())


def test_a_listener_of_a_subclass_gives_its_connections_theirs(loop: Loop) -> None:
    listener = loud(socket.create_server(("127.0.0.1", 0)))
    answered: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(await reader.readexactly(8))
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"question")
            while not answered:
                await asyncio.sleep(0.001)
            writer.close()
            await writer.wait_closed()

    run(loop, main())
    assert answered == [b"QUESTION"]
    assert "accept" in listener.calls


def test_a_buffered_protocol_is_received_into_by_the_method(loop: Loop, ends: Any) -> None:
    sock, peer = ends

    class Buffered(asyncio.BufferedProtocol):
        buffer = bytearray(100)
        received = b""

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.received = bytes(self.buffer[:nbytes])

    transport, protocol = run(loop, loop.create_connection(Buffered, sock=sock))
    peer.send(b"hello")
    run_until(loop, lambda: protocol.received)
    assert protocol.received == b"HELLO"
    transport.abort()
    run_until(loop, lambda: sock.fileno() == -1)


def test_a_datagram_endpoint_calls_the_methods(loop: Loop) -> None:
    sock = loud(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    transport, protocol = run(loop, loop.create_datagram_endpoint(DatagramRecorder, sock=sock))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.sendto(b"hello", sock.getsockname())
        run_until(loop, lambda: protocol.received)
        transport.sendto(b"answer", peer.getsockname())
        assert said(peer, 10) == b"ANSWER"
    assert protocol.received == [b"HELLO"]
    assert sock.calls == ["recvfrom", "sendto"]
    transport.abort()
    run_until(loop, lambda: protocol.is_lost)


@pytest.mark.parametrize("name", ["recv", "send"])
def test_a_method_that_was_put_into_the_class_is_called(loop: Loop, name: str) -> None:
    genuine = getattr(socket.socket, name)
    calls: list[Any] = []

    def noted(sock: socket.socket, *args: Any) -> Any:
        calls.append(args)
        return genuine(sock, *args)

    ours, peer = tcp_pair()
    ours.setblocking(False)
    other = ours.dup()
    other.setblocking(False)
    with mock.patch.object(socket.socket, name, noted):

        async def main() -> None:
            reader, writer = await asyncio.open_connection(sock=ours)
            peer.sendall(b"question")
            await reader.readexactly(8)
            writer.write(b"answer")
            writer.close()
            await writer.wait_closed()
            before = len(calls)
            await loop.sock_sendall(other, b"more")
            peer.sendall(b"more")
            await loop.sock_recv(other, 4)
            assert len(calls) > before

        run(loop, main())
    assert calls
    peer.close()
    other.close()


def test_a_method_that_was_put_back_makes_sockets_plain_again() -> None:
    # As pytest-socket does: the class has the genuine method as its own afterwards.
    with socket.socket() as sock:
        assert _ferrio.is_plain_socket(sock)
        genuine = socket.socket.connect
        try:
            socket.socket.connect = lambda *args: None  # type: ignore[method-assign]
            assert not _ferrio.is_plain_socket(sock)
            socket.socket.connect = genuine  # type: ignore[method-assign]
            assert _ferrio.is_plain_socket(sock)
        finally:
            del socket.socket.connect
        assert _ferrio.is_plain_socket(sock)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_class_in_the_place_of_socket_makes_the_connections(loop: Loop, host: str) -> None:
    made: list[Loud] = []

    class Noted(Loud):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    with socket.create_server(("127.0.0.1", 0)) as listener, mock.patch.object(socket, "socket", Noted):
        transport, protocol = run(
            loop, loop.create_connection(Recorder, host, listener.getsockname()[1], family=socket.AF_INET)
        )
        transport.write(b"hello")
        transport.abort()
        run_until(loop, lambda: protocol.is_lost)
    assert any("send" in sock.calls for sock in made)


@ferrio_only
@pytest.mark.parametrize("in_place", ["class Other(socket.socket): pass", "class Other: pass"])
def test_the_genuine_class_is_found_whatever_is_in_its_place(in_place: str) -> None:
    program = f"""
    import socket
    genuine = socket.socket
    {in_place}
    socket.socket = Other
    from ferrio import _ferrio
    assert _ferrio.SOCKET is genuine
    assert not _ferrio.is_plain_socket(Other())
    assert _ferrio.is_plain_socket(genuine())
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
