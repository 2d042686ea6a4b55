"""``close``, ``abort`` and ``write_eof`` after a write, and peers that are gone."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


def in_callback(loop: Loop, call: Callable[[], object]) -> None:
    loop.call_soon(call)
    turn(loop)


def directly(loop: Loop, call: Callable[[], object]) -> None:
    call()


each_place = pytest.mark.parametrize("place", [directly, in_callback])


@each_place
@pytest.mark.parametrize("size", [5, 70_000, 4 * MIB])
def test_close_after_a_write_sends_everything_first(loop: Loop, place: Any, size: int) -> None:
    connection = connect(loop)
    data = b"x" * size

    def write_and_close() -> None:
        connection.transport.write(data)
        connection.transport.close()

    place(loop, write_and_close)
    assert connection.receive_all() == data
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names[-1] == "lost"
    assert connection.protocol.lost_with is None
    connection.peer.close()


@each_place
def test_abort_after_a_small_write_loses_nothing_that_the_kernel_took(loop: Loop, place: Any) -> None:
    connection = connect(loop)

    def write_and_abort() -> None:
        connection.transport.write(b"taken")
        connection.transport.abort()

    place(loop, write_and_abort)
    assert connection.receive_all() == b"taken"
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.lost_with is None
    connection.peer.close()


def test_an_answer_after_which_the_protocol_raises_leaves(loop: Loop) -> None:
    class Answering(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"answer")
            raise ValueError(data)

    connection = connect(loop, Answering)
    handled: list[Any] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))
    connection.peer.send(b"request")
    assert connection.receive_all() == b"answer"
    run_until(loop, lambda: connection.protocol.is_lost)
    assert handled == [connection.protocol.lost_with]
    connection.peer.close()


@each_place
def test_abort_after_a_large_write_loses_the_rest_and_ends_at_once(loop: Loop, place: Any) -> None:
    connection = connect(loop)

    def write_and_abort() -> None:
        connection.transport.write(b"x" * (8 * MIB))
        connection.transport.abort()

    place(loop, write_and_abort)
    turn(loop, 2)
    assert connection.protocol.is_lost
    assert connection.protocol.lost_with is None
    assert connection.transport.get_write_buffer_size() == 0
    assert 0 < len(connection.receive_all()) < 8 * MIB
    connection.peer.close()


@each_place
@pytest.mark.parametrize("size", [0, 5, 4 * MIB])
def test_write_eof_ends_one_direction_when_everything_is_sent(loop: Loop, place: Any, size: int) -> None:
    connection = connect(loop)
    data = b"x" * size

    def write_and_end() -> None:
        connection.transport.write(data)
        connection.transport.write_eof()

    assert connection.transport.can_write_eof() is True
    place(loop, write_and_end)
    assert connection.receive_all() == data
    assert not connection.transport.is_closing()
    connection.peer.send(b"answer")
    run_until(loop, lambda: connection.protocol.received == b"answer")
    connection.transport.write_eof()
    with pytest.raises(RuntimeError, match="Cannot call write\\(\\) after write_eof\\(\\)"):
        connection.transport.write(b"more")
    # Up to 3.11 asyncio's writelines() joins the lines and calls write().
    with pytest.raises(RuntimeError, match=r"Cannot call write(lines)?\(\) after write_eof\(\)"):
        connection.transport.writelines([b"more"])
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "eof", "lost"] or "pause" in connection.protocol.names


def test_close_after_write_eof_closes(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * MIB)
    connection.transport.write_eof()
    connection.transport.close()
    assert connection.receive_all() == b"x" * MIB
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_write_eof_after_close_does_nothing(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.close()
    connection.transport.write_eof()
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.transport.write_eof()
    connection.peer.close()


def test_writes_after_the_connection_is_lost_are_dropped_and_logged_in_the_end(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(loop)
    connection.transport.abort()
    run_until(loop, lambda: connection.protocol.is_lost)
    for _ in range(7):
        connection.transport.write(b"lost")
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["socket.send() raised exception."] * 3
    connection.peer.close()


def test_writes_while_the_transport_is_closing_are_still_sent(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * (4 * MIB))
    connection.transport.close()
    connection.transport.write(b"late")
    received = connection.receive_all()
    assert received == b"x" * (4 * MIB) + b"late"
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_a_peer_that_is_gone_is_told_by_connection_lost(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    connection.transport.pause_reading()
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()

    def write() -> bool:
        connection.transport.write(b"x")
        return connection.protocol.is_lost

    run_until(loop, write)
    assert isinstance(connection.protocol.lost_with, ConnectionError)
    assert connection.protocol.lost_with.errno is not None


def test_a_peer_that_is_gone_is_told_once_though_bytes_were_waiting(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * (4 * MIB))
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names.count("lost") == 1
    turn(loop, 3)
    assert connection.protocol.names.count("lost") == 1
