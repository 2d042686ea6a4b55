"""A transport from its beginning to its end: what it shows, how it fails, and that it ends once."""

import asyncio
import gc
import os
import socket
import struct
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Connection, Recorder, connect, connect_both
from .loops import NAME, ferrio_only, run, run_until, turn
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
    """How a transport shows itself from its beginning to its end."""
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


# --- failing protocols --------------------------------------------------------------------------------------


class Theirs(Exception):
    pass


MESSAGES = {
    "data_received": "Fatal error: protocol.data_received() call failed.",
    "eof_received": "Fatal error: protocol.eof_received() call failed.",
    "get_buffer": "Fatal error: protocol.get_buffer() call failed.",
    "buffer_updated": "Fatal error: protocol.buffer_updated() call failed.",
}


def failing(method: str, exception: type[BaseException]) -> type[Recorder]:
    """A protocol that raises in one of its methods."""

    class Fails(Recorder):
        def fail(self, name: str) -> None:
            if name == method:
                raise exception(name)

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.fail("connection_made")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.fail("data_received")

        def eof_received(self) -> bool:
            super().eof_received()
            self.fail("eof_received")
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.fail("connection_lost")

    class BufferedFails(Fails, asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            self.fail("get_buffer")
            self.buffer = bytearray(10)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.fail("buffer_updated")

    return BufferedFails if "buffer" in method else Fails


@pytest.mark.parametrize("exception", [Theirs, OSError, GeneratorExit])
@pytest.mark.parametrize("method", MESSAGES)
def test_an_exception_in_a_protocol_ends_its_connection_only(
    loop: Loop, contexts: list[dict[str, Any]], method: str, exception: type[BaseException]
) -> None:
    other = connect(loop)
    connection = connect(loop, failing(method, exception))
    if method == "eof_received":
        connection.peer.shutdown(socket.SHUT_WR)
    else:
        connection.peer.send(b"data")
    run_until(loop, lambda: connection.protocol.is_lost)
    assert type(connection.protocol.lost_with) is exception
    assert connection.protocol.names.count("lost") == 1
    if exception is OSError:
        # An error of the connection, for all that asyncio knows.
        assert contexts == []
    else:
        (told,) = contexts
        assert told == {
            "message": MESSAGES[method],
            "exception": connection.protocol.lost_with,
            "transport": connection.transport,
            "protocol": connection.protocol,
        }
    assert connection.is_at_end()
    other.peer.send(b"alive")
    run_until(loop, lambda: other.protocol.received == b"alive")
    connection.peer.close()
    other.end()


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_an_exception_at_the_beginning_or_the_end_is_told_as_that_of_a_callback(
    loop: Loop, contexts: list[dict[str, Any]], method: str
) -> None:
    connection = connect(loop, failing(method, Theirs))
    connection.transport.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    turn(loop)
    (told,) = contexts
    assert isinstance(told["exception"], Theirs)
    assert told["message"].startswith("Exception in callback ")
    assert connection.transport._sock is None
    assert connection.is_at_end()
    connection.peer.close()


def test_a_protocol_without_the_methods_fails_like_one_that_raises(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    lost: list[Any] = []

    class Bare:
        def connection_made(self, transport: Any) -> None:
            pass

        def connection_lost(self, exc: Any) -> None:
            lost.append(exc)

    connection = connect(loop, Bare)  # type: ignore[type-var]
    connection.peer.send(b"data")
    run_until(loop, lambda: lost)
    assert isinstance(lost[0], AttributeError)
    assert contexts[0]["exception"] is lost[0]
    connection.peer.close()


# --- memory -------------------------------------------------------------------------------------------------


def test_a_transport_and_its_protocol_are_collected_when_the_connection_is_over(loop: Loop) -> None:
    connection = connect(loop)
    gone = weakref.ref(connection.transport), weakref.ref(connection.protocol)
    connection.transport.write(b"x")
    connection.end()
    del connection
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_a_transport_that_is_over_holds_neither_loop_nor_protocol(loop: Loop) -> None:
    connection = connect(loop)
    transport = connection.transport
    gone = weakref.ref(connection.protocol)
    connection.end()
    connection.protocol.transport = None
    del connection
    gc.collect()
    assert gone() is None
    assert transport._loop is None
    assert transport._protocol is None
    assert transport.get_protocol() is None


def test_a_reading_transport_that_nobody_holds_lives_on(loop: Loop) -> None:
    class Forgets(asyncio.Protocol):
        got: list[bytes] = []  # noqa: RUF012

        def data_received(self, data: bytes) -> None:
            self.got.append(data)

    connection = connect(loop, Forgets)
    peer = connection.peer
    alive = weakref.ref(connection.transport)
    del connection
    gc.collect()
    assert alive() is not None
    peer.send(b"still here")
    run_until(loop, lambda: Forgets.got)
    peer.close()
    run_until(loop, lambda: alive() is None or alive()._sock is None)  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_paused_transport_that_nobody_holds_is_collected_and_its_socket_closed(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.pause_reading()
    peer = connection.peer
    gone = weakref.ref(connection.transport), weakref.ref(connection.protocol)
    del connection
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert peer.recv(1) == b""
    peer.close()


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_paused_transport_that_still_sends_lives_until_everything_is_sent(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.pause_reading()
    connection.transport.write(b"x" * (4 * MIB))
    peer = connection.peer
    alive = weakref.ref(connection.transport)
    del connection
    gc.collect()
    assert alive() is not None
    peer.setblocking(False)
    received = 0

    def receive() -> None:
        nonlocal received
        received += len(peer.recv(1 << 20))

    loop.add_reader(peer, receive)
    run_until(loop, lambda: received == 4 * MIB)
    gc.collect()
    loop.remove_reader(peer)
    assert alive() is None
    peer.close()


def test_an_unclosed_transport_is_warned_of(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.pause_reading()
    number = connection.transport._sock_fd
    peer = connection.peer
    with pytest.warns(ResourceWarning, match=rf"unclosed transport <\w+ fd={number} "):
        del connection
        gc.collect()
    peer.close()


def test_a_transport_whose_loop_was_closed_is_warned_of_and_closes_its_socket(make_loop: Any) -> None:
    loop = make_loop()
    connection = connect(loop)
    peer = connection.peer
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del connection
        gc.collect()
    assert peer.recv(1) == b""
    peer.close()


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.parametrize("state", ["idle", "paused", "sending", "closing", "aborted"])
def test_a_transport_whose_loop_was_closed_fails_in_words_at_the_most(make_loop: Any, state: str) -> None:
    loop = make_loop()
    connection = connect(loop)
    transport = connection.transport
    if state == "paused":
        transport.pause_reading()
    if state in ("sending", "closing"):
        transport.write(b"x" * (4 * MIB))
    if state == "closing":
        transport.close()
    if state == "aborted":
        transport.abort()
    loop.close()
    told: list[str] = []
    for use in (
        repr,
        lambda transport: transport.write(b"x"),
        lambda transport: transport.writelines([b"x"]),
        lambda transport: transport.get_write_buffer_size(),
        lambda transport: transport.get_write_buffer_limits(),
        lambda transport: transport.set_write_buffer_limits(high=0),
        lambda transport: transport.pause_reading(),
        lambda transport: transport.resume_reading(),
        lambda transport: transport.write_eof(),
        lambda transport: transport.is_closing(),
        lambda transport: transport.get_protocol(),
        lambda transport: transport.get_extra_info("peername"),
        lambda transport: transport.set_protocol(Recorder()),
        lambda transport: transport.close(),
        lambda transport: transport.abort(),
        lambda transport: transport.close(),
    ):
        try:
            use(transport)
        except RuntimeError as error:
            # A bug of the native half would be a SystemError.
            told.append(str(error))
        except (OSError, AttributeError, KeyError, TypeError):
            assert NAME != "ferrio"
    assert set(told) <= {"Event loop is closed"} or NAME != "ferrio"
    connection.peer.close()
    connection.protocol.transport = None
    del connection, transport
    gc.collect()


def test_a_closed_transport_is_not_warned_of(loop: Loop) -> None:
    connection = connect(loop)
    connection.end()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del connection
        gc.collect()


def test_a_server_is_told_when_a_forgotten_transport_is_collected(loop: Any) -> None:
    class Pauses(Recorder):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()

    async def main() -> Any:
        server = await loop.create_server(Pauses, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        while not loop._transports:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return server, client

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        server, client = run(loop, main())
        turn(loop, 2)
        gc.collect()
    client.close()
    server.close()
    run(loop, server.wait_closed())


@ferrio_only
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_transports_in_every_state_are_collected_with_their_loop() -> None:
    import ferrio

    loop = ferrio.Loop()
    connections = [connect(loop) for _ in range(4)]
    connections[0].transport.pause_reading()
    connections[1].transport.write(b"x" * (4 * MIB))
    connections[2].transport.close()
    loop.call_soon(connections[3].transport.write, b"x")
    gone = [weakref.ref(each) for connection in connections for each in (connection.transport, connection.protocol)]
    gone.append(weakref.ref(loop))
    peers = [connection.peer for connection in connections]
    del loop, connections
    gc.collect()
    assert [reference() for reference in gone] == [None] * 9
    for peer in peers:
        peer.close()


def test_a_transport_can_be_referred_to_weakly_and_take_attributes(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.anything = 1
    assert connection.transport.anything == 1
    assert weakref.ref(connection.transport)() is connection.transport
    assert gc.is_tracked(connection.transport)
    connection.end()


# --- sockets that are not what they seem --------------------------------------------------------------------


def test_two_transports_of_one_open_file_do_not_disturb_one_another(loop: Loop) -> None:
    connection = connect(loop)
    again = socket.socket(fileno=os.dup(connection.transport._sock_fd))
    second, protocol = run(loop, loop.create_connection(Recorder, sock=again))
    second.pause_reading()
    second.write(b"from the second")
    assert connection.receive(15) == b"from the second"
    second.abort()
    run_until(loop, lambda: protocol.is_lost)
    connection.peer.send(b"alive")
    run_until(loop, lambda: connection.protocol.received == b"alive")
    connection.end()


def test_a_closed_socket_is_refused(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with pytest.raises((OSError, ValueError)):
        run(loop, loop.create_connection(Recorder, sock=ours))
    theirs.close()


def test_a_socket_of_another_kind_is_refused(loop: Loop) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="A Stream Socket was expected"),
    ):
        run(loop, loop.create_connection(Recorder, sock=sock))


def test_a_blocking_socket_is_made_non_blocking(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    transport, _ = run(loop, loop.create_connection(Recorder, sock=ours))
    assert transport.get_extra_info("socket").gettimeout() == 0
    transport.abort()
    theirs.close()
    turn(loop, 2)


def test_a_factory_that_fails_closes_nothing_of_the_callers(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    def fail() -> Recorder:
        raise Theirs

    with pytest.raises(Theirs):
        run(loop, loop.create_connection(fail, sock=ours))
    ours.close()
    theirs.close()


def test_a_cancelled_create_connection_closes_its_socket(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:

        async def main() -> None:
            connecting = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

        run(loop, main())
        turn(loop, 5)
        gc.collect()


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
