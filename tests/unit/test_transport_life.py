"""The life of a transport: its representation in each state, and that it ends once."""

import asyncio
import gc
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Connection, Recorder, connect, connect_both
from .loops import run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


# --- what it shows ------------------------------------------------------------------------------------------


def test_a_transport_is_one_of_asyncios(loop: Loop) -> None:
    connection = connect(loop)
    assert isinstance(connection.transport, asyncio.Transport)
    assert connection.transport.get_protocol() is connection.protocol
    connection.end()


def test_extra_information_of_a_tcp_connection(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    sock = connection.transport.get_extra_info("socket")
    assert isinstance(sock, asyncio.trsock.TransportSocket)  # type: ignore[attr-defined]
    assert sock.fileno() == connection.transport._sock_fd
    assert connection.transport.get_extra_info("sockname") == connection.peer.getpeername()
    assert connection.transport.get_extra_info("peername") == connection.peer.getsockname()
    assert connection.transport.get_extra_info("nothing") is None
    assert connection.transport.get_extra_info("nothing", 1) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.end()
    assert connection.transport.get_extra_info("sockname") is not None


def test_extra_information_of_a_unix_connection(loop: Loop) -> None:
    connection = connect(loop)
    assert connection.transport.get_extra_info("sockname") == ""
    assert connection.transport.get_extra_info("peername") == ""
    connection.end()


def test_a_protocol_can_ask_for_everything_in_connection_made(loop: Loop) -> None:
    seen: dict[str, Any] = {}

    class Asks(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            seen.update(
                peername=transport.get_extra_info("peername"),
                closing=transport.is_closing(),
                reading=transport.is_reading(),
                size=transport.get_write_buffer_size(),
                protocol=transport.get_protocol() is self,
            )

    connection = connect(loop, Asks, tcp_pair)
    assert seen == {
        "peername": connection.peer.getsockname(),
        "closing": False,
        "reading": True,
        "size": 0,
        "protocol": True,
    }
    connection.end()


def shown(transport: Any) -> str:
    return repr(transport).replace(f"fd={transport._sock_fd}", "fd=N").partition(" ")[2]


def states_of(loop: Loop) -> list[str]:
    """The representations of a transport from its beginning to its end."""
    states: list[str] = []
    connection = connect(loop)
    transport = connection.transport
    states.append(shown(transport))
    transport.pause_reading()
    states.append(shown(transport))
    transport.resume_reading()
    states.append(shown(transport))
    transport.write(b"x" * (4 * MIB))
    states.append(shown(transport).partition("bufsize=")[0])
    transport.close()
    states.append(shown(transport).partition("bufsize=")[0])
    connection.receive_all()
    run_until(loop, lambda: connection.protocol.is_lost)
    states.append(shown(transport))
    connection.peer.close()

    aborted = connect(loop)
    aborted.transport.abort()
    states.append(shown(aborted.transport))
    run_until(loop, lambda: aborted.protocol.is_lost)
    states.append(shown(aborted.transport))
    aborted.peer.close()

    orphan = connect(loop)
    orphan.transport.pause_reading()
    loop.close()
    states.append(shown(orphan.transport))
    orphan.peer.close()
    return states


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_transport_shows_each_of_its_states_as_asyncio_does(make_loop: Any) -> None:
    expected = states_of(asyncio.SelectorEventLoop())
    assert states_of(make_loop()) == expected
    gc.collect()


# --- the end ------------------------------------------------------------------------------------------------

ENDINGS: dict[str, Callable[[Connection[Recorder]], object]] = {
    "close": lambda connection: connection.transport.close(),
    "abort": lambda connection: connection.transport.abort(),
    "end of the stream": lambda connection: connection.peer.close(),
    "half close": lambda connection: connection.peer.shutdown(socket.SHUT_WR),
    "close and abort": lambda connection: (connection.transport.close(), connection.transport.abort()),
    "abort and close": lambda connection: (connection.transport.abort(), connection.transport.close()),
    "close twice": lambda connection: (connection.transport.close(), connection.transport.close()),
    "abort twice": lambda connection: (connection.transport.abort(), connection.transport.abort()),
    "write and close": lambda connection: (connection.transport.write(b"x"), connection.transport.close()),
    "write_eof and close": lambda connection: (
        connection.transport.write_eof(),
        connection.transport.close(),
    ),
    "close and the end of the stream": lambda connection: (
        connection.transport.close(),
        connection.peer.close(),
    ),
    "a large write and the end of the stream": lambda connection: (
        connection.transport.write(b"x" * (4 * MIB)),
        connection.peer.close(),
    ),
    "a large write, close and the end of the stream": lambda connection: (
        connection.transport.write(b"x" * (4 * MIB)),
        connection.transport.close(),
        connection.peer.close(),
    ),
    "a large write, close and abort": lambda connection: (
        connection.transport.write(b"x" * (4 * MIB)),
        connection.transport.close(),
        connection.transport.abort(),
    ),
    "a reset": lambda connection: (
        connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
        connection.peer.close(),
    ),
}


@pytest.mark.parametrize("pair", [socket.socketpair, tcp_pair], ids=["unix", "tcp"])
@pytest.mark.parametrize("within", [False, True], ids=["outside a callback", "in a callback"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_however_it_ends_connection_lost_is_called_once_and_last(
    loop: Loop, ending: str, within: bool, pair: Any
) -> None:
    connection = connect(loop, pair=pair)
    end = ENDINGS[ending]
    if within:
        loop.call_soon(end, connection)
    else:
        end(connection)
        # Never within the call itself.
        assert not connection.protocol.is_lost
    run_until(loop, lambda: connection.protocol.is_lost)
    turn(loop, 5)
    assert connection.protocol.names.count("lost") == 1
    assert connection.protocol.names[-1] == "lost"
    assert connection.transport.is_closing()
    assert connection.transport._sock is None
    connection.transport.close()
    connection.transport.abort()
    if "eof" not in ending:
        connection.transport.write(b"late")
    turn(loop, 3)
    assert connection.protocol.names.count("lost") == 1
    connection.peer.close()


def test_the_socket_is_closed_after_connection_lost_not_before(loop: Loop) -> None:
    states: list[Any] = []

    class Looks(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            states.append(self.transport.get_extra_info("socket").fileno() >= 0)

    connection = connect(loop, Looks)
    connection.transport.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert states == [True]
    assert connection.transport.get_extra_info("socket").fileno() == -1
    assert connection.is_at_end()
    connection.peer.close()


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize(
    "method",
    ["connection_made", "data_received", "eof_received", "connection_lost", "buffer_updated", "get_buffer"],
)
def test_a_protocol_may_end_its_transport_in_every_method(loop: Loop, method: str, ending: str) -> None:
    class Ends(Recorder):
        def end(self, name: str) -> None:
            if name == method:
                getattr(self.transport, ending)()

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.end("connection_made")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.end("data_received")

        def eof_received(self) -> bool:
            super().eof_received()
            self.end("eof_received")
            return method == "eof_received"

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.end("connection_lost")

    class BufferedEnds(Ends, asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            self.end("get_buffer")
            self.buffer = bytearray(10)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.events.append(("data", bytes(self.buffer[:nbytes])))
            self.end("buffer_updated")

    connection = connect(loop, BufferedEnds if "buffer" in method else Ends)
    if method != "connection_made":
        connection.peer.send(b"data")
        turn(loop, 3)
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    turn(loop, 3)
    assert connection.protocol.names.count("lost") == 1
    assert connection.protocol.lost_with is None
    if method == "connection_made":
        assert connection.protocol.names == ["made", "lost"]


def test_nothing_is_delivered_after_close_though_it_was_ready(loop: Loop) -> None:
    connection = connect(loop)
    connection.peer.send(b"too late")
    loop.call_soon(connection.transport.close)
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.events == [("made",), ("lost", None)]
    connection.peer.close()


def test_a_transport_closed_by_a_neighbour_of_the_same_turn_is_not_called(loop: Loop) -> None:
    class ClosesTheOther(Recorder):
        other: Any = None

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.other.transport.abort()

    first, second = connect(loop, ClosesTheOther), connect(loop, ClosesTheOther)
    first.protocol.other, second.protocol.other = second, first
    first.peer.send(b"x")
    second.peer.send(b"x")
    run_until(loop, lambda: first.protocol.is_lost or second.protocol.is_lost)
    received = [connection.protocol.received for connection in (first, second)]
    assert sorted(received) == [b"", b"x"]
    first.end()
    second.end()


def test_closing_one_transport_leaves_its_neighbours_alone(loop: Loop) -> None:
    connections = [connect(loop) for _ in range(10)]
    for connection in connections[::2]:
        connection.transport.abort()
    run_until(loop, lambda: all(connection.protocol.is_lost for connection in connections[::2]))
    for connection in connections[1::2]:
        connection.transport.write(b"alive")
        assert connection.receive(5) == b"alive"
    for connection in connections:
        connection.end()


def test_a_new_connection_that_gets_a_used_number_gets_nobody_elses_bytes(loop: Loop) -> None:
    for number in range(30):
        connection = connect(loop)
        connection.transport.write(b"x" * (MIB if number % 3 == 0 else 10))
        connection.peer.send(b"for number %d" % number)
        if number % 2:
            connection.transport.abort()
        else:
            connection.transport.close()
        connection.peer.close()
        if number % 5 == 0:
            turn(loop)
        fresh = connect(loop)
        turn(loop, 3)
        assert fresh.protocol.events == [("made",)]
        fresh.peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            fresh.peer.recv(1)
        fresh.end()
        run_until(loop, lambda: connection.protocol.is_lost)


def test_both_ends_in_one_loop_talk(loop: Loop) -> None:
    first, second = connect_both(loop)
    for number in range(100):
        first.transport.write(b"%d " % number)
        second.transport.write(b"%d " % -number)
        turn(loop)
    run_until(loop, lambda: first.protocol.received.endswith(b"-99 "))
    run_until(loop, lambda: second.protocol.received.endswith(b" 99 "))
    first.transport.close()
    run_until(loop, lambda: first.protocol.is_lost and second.protocol.is_lost)
    assert second.protocol.names == ["made", "eof", "lost"]
    assert first.protocol.names == ["made", "lost"]
