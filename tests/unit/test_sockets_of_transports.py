"""Pending writes are sent before a transport's socket is used."""

import asyncio
import os
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Connection, Recorder, connect
from .loops import LIMIT_S, ferrio_only, run, run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
PAIRS = {"unix": socket.socketpair, "tcp": tcp_pair}


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def connection(request: pytest.FixtureRequest, loop: Loop) -> Any:
    connection = connect(loop, pair=request.param)
    yield connection
    connection.end()


def in_callback(loop: Loop, function: Callable[[], Any]) -> Any:
    """Return the result of *function* when a callback of the loop calls it."""
    results: list[Any] = []
    loop.call_soon(lambda: results.append(function()))
    turn(loop)
    return results[0]


def waiting(sock: socket.socket) -> bytes:
    sock.setblocking(False)
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


# What is asked of the socket that get_extra_info() shows.
USES: dict[str, Callable[[Any], Any]] = {
    "shutdown": lambda shown: shown.shutdown(socket.SHUT_WR),
    "setsockopt": lambda shown: shown.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "getsockopt": lambda shown: shown.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    "fileno": lambda shown: shown.fileno(),
    "dup": lambda shown: shown.dup().close(),
    "the socket": lambda shown: shown._sock,
    "family": lambda shown: shown.family,
    "getpeername": lambda shown: shown.getpeername(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_was_written_is_sent_before_the_socket_is_used(loop: Loop, connection: Any, use: Any) -> None:
    shown = connection.transport.get_extra_info("socket")

    def write_and_use() -> bytes:
        connection.transport.write(b"written")
        use(shown)
        return waiting(connection.peer)

    assert in_callback(loop, write_and_use) == b"written"


def test_what_was_written_is_sent_before_the_transports_own_socket_is_used(loop: Loop, connection: Any) -> None:
    def write_and_use() -> bytes:
        connection.transport.write(b"written")
        connection.transport._sock.shutdown(socket.SHUT_WR)
        return waiting(connection.peer)

    assert in_callback(loop, write_and_use) == b"written"


KEPT: dict[str, Callable[[Any], Any]] = {
    "dup": lambda transport: transport.get_extra_info("socket").dup(),
    "a dup of its number": lambda transport: socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())),
    "the socket": lambda transport: transport.get_extra_info("socket")._sock.dup(),
    "the transport's socket": lambda transport: transport._sock.dup(),
}


@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
def test_who_has_kept_the_socket_sends_after_what_was_written(loop: Loop, connection: Any, keep: Any) -> None:
    kept = keep(connection.transport)

    def write_and_send() -> bytes:
        connection.transport.write(b"1")
        kept.send(b"2")
        connection.transport.writelines([b"3"])
        kept.send(b"4")
        return waiting(connection.peer)

    assert in_callback(loop, write_and_send) == b"1234"
    kept.close()


WAYS_IN = ["create_connection", "create_unix_connection", "connect_accepted_socket", "open_connection"]


@pytest.mark.parametrize("way", WAYS_IN)
def test_who_has_given_a_socket_sends_after_what_was_written(loop: Loop, way: str) -> None:
    ours, peer = socket.socketpair()
    peer.settimeout(LIMIT_S)

    async def give() -> Any:
        if way == "open_connection":
            return (await asyncio.open_connection(sock=ours))[1]
        if way == "connect_accepted_socket":
            return (await loop.connect_accepted_socket(Recorder, ours))[0]
        return (await getattr(loop, way)(Recorder, sock=ours))[0]

    async def main() -> None:
        writer = await give()
        writer.write(b"1")
        ours.send(b"2")
        writer.write(b"3")
        reading, writing = os.pipe()
        socket.send_fds(ours, [b"4"], [writing])
        writer.writelines([b"5"])
        ours.shutdown(socket.SHUT_WR)
        data, fds, _, _ = socket.recv_fds(peer, 100, 1)
        data += peer.recv(100)
        for fd in (*fds, reading, writing):
            os.close(fd)
        assert data == b"12345"
        writer.close()
        await asyncio.sleep(0.01)

    run(loop, main())
    peer.close()


def test_a_given_duplicate_shares_the_connection_too(loop: Loop) -> None:
    ours, peer = socket.socketpair()

    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=ours.dup())
        writer.write(b"1")
        ours.send(b"2")
        assert waiting(peer) == b"12"
        writer.close()
        await writer.wait_closed()

    run(loop, main())
    ours.close()
    peer.close()


def test_what_was_drained_is_sent_before_a_shutdown(loop: Loop) -> None:
    ours, peer = tcp_pair()

    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"request")
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        writer.close()
        await writer.wait_closed()

    run(loop, main())
    assert peer.recv(100) == b"request"
    assert peer.recv(100) == b""
    peer.close()


# --- the object that is shown ------------------------------------------------------------------------------------


def test_the_shown_socket_is_asyncios_kind(loop: Loop, connection: Any) -> None:
    shown = connection.transport.get_extra_info("socket")
    assert isinstance(shown, asyncio.trsock.TransportSocket)
    assert shown is connection.transport.get_extra_info("socket")
    assert repr(shown) == repr(asyncio.trsock.TransportSocket(shown._sock))
    assert (shown.type, shown.family) == (shown._sock.type, shown._sock.family)
    assert shown.proto == shown._sock.proto
    assert shown.getsockname() == shown._sock.getsockname()
    assert not shown.get_inheritable()
    assert shown.gettimeout() == 0
    shown.setblocking(False)
    with pytest.raises(ValueError, match="cannot be blocking"):
        shown.setblocking(True)
    with pytest.raises(TypeError, match="Cannot serialize"):
        pickle.dumps(shown)
    with pytest.raises(AttributeError):
        shown.close()
    with pytest.raises(AttributeError):
        shown.send(b"x")


def test_the_shown_socket_does_not_keep_the_transport(loop: Loop) -> None:
    connection = connect(loop)
    shown = connection.transport.get_extra_info("socket")
    connection.end()
    connection.transport = connection.protocol.transport = None
    assert shown.fileno() == -1
    assert repr(shown).startswith("<asyncio.TransportSocket fd=-1")


def owned(loop: Loop) -> Connection[Recorder]:
    """A connection that the loop has opened itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, protocol = run(loop, loop.create_connection(Recorder, *listener.getsockname()))
        peer, _ = listener.accept()
    return Connection(loop, transport, protocol, peer)


# Servers ask this for each connection: it must not cost them that a header and a body leave together.
HARMLESS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda transport: None,
    "the socket": lambda transport: transport.get_extra_info("socket"),
    "its peer": lambda transport: transport.get_extra_info("socket").getpeername(),
    "an option": lambda transport: transport.get_extra_info("socket").setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    ),
    "its text": lambda transport: repr(transport.get_extra_info("socket")),
    "names": lambda transport: (transport.get_extra_info("sockname"), transport.get_extra_info("peername")),
}


@ferrio_only
@pytest.mark.parametrize("ask", HARMLESS.values(), ids=HARMLESS)
def test_asking_about_the_socket_leaves_the_cork(loop: Loop, ask: Any) -> None:
    connection = owned(loop)
    ask(connection.transport)

    def write() -> bytes:
        connection.transport.write(b"header")
        connection.transport.write(b"body")
        return waiting(connection.peer)

    assert in_callback(loop, write) == b""
    run_until(loop, lambda: waiting(connection.peer) == b"headerbody")
    connection.end()


@ferrio_only
def test_sending_a_file_leaves_the_cork(loop: Loop, tmp_path: Any) -> None:
    connection = owned(loop)
    (tmp_path / "file").write_bytes(b"content")

    async def main() -> bytes:
        with open(tmp_path / "file", "rb") as file:
            await loop.sendfile(connection.transport, file)
        assert waiting(connection.peer) == b"content"
        connection.transport.write(b"later")
        return waiting(connection.peer)

    assert run(loop, main()) == b""
    connection.end()
