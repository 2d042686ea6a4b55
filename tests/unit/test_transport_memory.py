"""References to transports: what holds one, what is collected with it, and the warnings."""

import asyncio
import gc
import socket
import warnings
import weakref
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import NAME, ferrio_only, run, run_until, turn

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


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
