"""Reading: pauses, the end of the stream, changes of the protocol, buffered protocols."""

import asyncio
import contextlib
import random
import socket
import struct
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import run, run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
KIB, MIB = 1 << 10, 1 << 20


def settle(loop: Loop) -> None:
    """Turn often enough for everything sent within this process to arrive."""
    turn(loop, 5)


def test_received_bytes_reach_the_protocol(loop: Loop) -> None:
    connection = connect(loop)
    connection.peer.send(b"hello")
    settle(loop)
    assert connection.protocol.events == [("made",), ("data", b"hello")]
    connection.end()


def test_received_data_is_exact_bytes_that_nobody_changes_later(loop: Loop) -> None:
    connection = connect(loop)
    for number in range(10):
        connection.peer.send(bytes([number]) * 5000)
        settle(loop)
    pieces = [piece for name, *rest in connection.protocol.events for piece in rest]
    assert {type(piece) for piece in pieces} == {bytes}
    assert b"".join(pieces) == b"".join(bytes([number]) * 5000 for number in range(10))
    connection.end()


@pytest.mark.parametrize("size", [1, 64 * KIB - 1, 64 * KIB, 200 * KIB, 256 * KIB, 256 * KIB + 1, 2 * MIB])
def test_every_amount_arrives_whole(loop: Loop, size: int) -> None:
    data = random.Random(size).randbytes(size)
    connection = connect(loop)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    for _ in range(2):
        connection.protocol.events.clear()
        connection.peer.setblocking(False)
        left = memoryview(data)

        def is_complete() -> bool:
            nonlocal left
            if left:
                with contextlib.suppress(BlockingIOError):
                    left = left[connection.peer.send(left) :]
            return sum(len(piece) for name, *rest in connection.protocol.events for piece in rest) >= size

        run_until(loop, is_complete)
        assert connection.protocol.received == data
    connection.end()


def test_one_turn_reads_once(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    connection.peer.sendall(b"x" * 600 * KIB)
    counts = []
    while sum(counts) < 600 * KIB:
        before = len(connection.protocol.received)
        turn(loop)
        counts.append(len(connection.protocol.received) - before)
    assert max(counts) <= 256 * KIB
    connection.end()


def test_bytes_and_the_end_behind_them_both_arrive(loop: Loop) -> None:
    connection = connect(loop)
    connection.peer.send(b"last words")
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.events == [("made",), ("data", b"last words"), ("eof",), ("lost", None)]


# --- pauses -------------------------------------------------------------------------------------------------


def test_a_paused_transport_delivers_nothing_until_it_is_resumed(loop: Loop) -> None:
    connection = connect(loop)
    assert connection.transport.is_reading()
    connection.transport.pause_reading()
    assert not connection.transport.is_reading()
    connection.peer.send(b"one")
    settle(loop)
    assert connection.protocol.received == b""
    connection.transport.resume_reading()
    assert connection.transport.is_reading()
    settle(loop)
    assert connection.protocol.received == b"one"
    connection.end()


def test_pausing_and_resuming_twice_is_doing_it_once(loop: Loop) -> None:
    connection = connect(loop)
    for _ in range(2):
        connection.transport.pause_reading()
    connection.transport.resume_reading()
    connection.peer.send(b"one")
    settle(loop)
    assert connection.protocol.received == b"one"
    for _ in range(2):
        connection.transport.resume_reading()
    connection.peer.send(b"two")
    settle(loop)
    assert connection.protocol.received == b"onetwo"
    connection.end()


def test_a_pause_in_connection_made_holds_from_the_start(loop: Loop) -> None:
    class PausesFirst(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    connection = connect(loop, PausesFirst)
    connection.peer.send(b"one")
    settle(loop)
    assert connection.protocol.received == b""
    assert not connection.transport.is_reading()
    connection.transport.resume_reading()
    settle(loop)
    assert connection.protocol.received == b"one"
    connection.end()


def test_a_pause_in_data_received_holds_back_the_rest(loop: Loop) -> None:
    class PausesAlways(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    connection = connect(loop, PausesAlways, tcp_pair)
    connection.peer.sendall(b"x" * 600 * KIB)
    received = 0
    while received < 600 * KIB:
        run_until(loop, lambda: len(connection.protocol.received) > received)
        received = len(connection.protocol.received)
        settle(loop)
        assert len(connection.protocol.received) == received
        connection.transport.resume_reading()
    connection.end()


def test_a_pause_holds_back_the_end_of_the_stream_too(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.pause_reading()
    connection.peer.close()
    settle(loop)
    assert connection.protocol.names == ["made"]
    connection.transport.resume_reading()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "eof", "lost"]


def test_pausing_by_a_callback_of_the_same_turn_holds_back_what_is_ready(loop: Loop) -> None:
    connection = connect(loop)
    connection.peer.send(b"one")
    loop.call_soon(connection.transport.pause_reading)
    turn(loop)
    assert connection.protocol.received == b""
    connection.transport.resume_reading()
    settle(loop)
    assert connection.protocol.received == b"one"
    connection.end()


def test_pausing_and_resuming_a_closed_transport_does_nothing(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.close()
    connection.transport.pause_reading()
    connection.transport.resume_reading()
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.transport.pause_reading()
    connection.transport.resume_reading()
    assert not connection.transport.is_reading()
    connection.peer.close()


def test_writing_goes_on_while_reading_is_paused(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.pause_reading()
    data = b"x" * (2 * MIB)
    connection.transport.write(data)
    assert connection.receive(len(data)) == data
    connection.end()


# --- the peer's end -----------------------------------------------------------------------------------------


def test_an_end_that_the_protocol_ignores_closes_the_transport(loop: Loop) -> None:
    connection = connect(loop)
    connection.peer.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "eof", "lost"]
    assert connection.is_at_end()
    connection.peer.close()


def test_an_end_that_the_protocol_keeps_open_leaves_the_other_direction(loop: Loop) -> None:
    connection = connect(loop)
    connection.protocol.keep_open = True
    connection.peer.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: connection.protocol.names == ["made", "eof"])
    settle(loop)
    assert connection.protocol.names == ["made", "eof"]
    assert not connection.transport.is_closing()
    connection.transport.write(b"x" * MIB)
    connection.transport.write(b"end")
    connection.transport.close()
    assert connection.receive_all() == b"x" * MIB + b"end"
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_a_half_closed_transport_does_not_spin(loop: Loop) -> None:
    import time

    connection = connect(loop)
    connection.protocol.keep_open = True
    connection.peer.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: connection.protocol.names == ["made", "eof"])
    loop.call_later(0.01, loop.stop)
    before = time.thread_time()
    loop.run_forever()
    assert time.thread_time() - before < 0.008
    connection.end()


def test_what_waits_to_be_sent_is_sent_after_the_peers_end(loop: Loop) -> None:
    connection = connect(loop)
    data = b"x" * (4 * MIB)
    connection.transport.write(data)
    connection.peer.shutdown(socket.SHUT_WR)
    assert connection.receive_all() == data
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.lost_with is None
    connection.peer.close()


def test_a_reset_is_told_with_its_error(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "lost"]
    assert isinstance(connection.protocol.lost_with, ConnectionResetError)
    assert connection.protocol.lost_with.args == (104, "Connection reset by peer")


def test_bytes_before_a_reset_arrive_when_the_kernel_still_has_them(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    connection.peer.send(b"before")
    settle(loop)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.received == b"before"


# --- another protocol ---------------------------------------------------------------------------------------


def test_another_protocol_gets_what_comes_next(loop: Loop) -> None:
    connection = connect(loop)
    second = Recorder()
    connection.peer.send(b"for the first")
    settle(loop)
    connection.transport.set_protocol(second)
    assert connection.transport.get_protocol() is second
    connection.peer.send(b"for the second")
    settle(loop)
    connection.peer.close()
    run_until(loop, lambda: second.is_lost)
    assert connection.protocol.events == [("made",), ("data", b"for the first")]
    assert second.events == [("data", b"for the second"), ("eof",), ("lost", None)]


def test_a_protocol_changed_within_data_received_gets_the_next_piece(loop: Loop) -> None:
    second = Recorder()

    class Changes(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)

    connection = connect(loop, Changes, tcp_pair)
    data = random.Random(9).randbytes(600 * KIB)
    connection.peer.sendall(data)
    run_until(loop, lambda: len(connection.protocol.received + second.received) == len(data))
    assert connection.protocol.received + second.received == data
    assert len(connection.protocol.events) == 2
    connection.end()


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Receives into its own buffer."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self.buffer = bytearray(size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> Any:
        self.hints.append(sizehint)
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append(("data", bytes(self.buffer[:nbytes])))


@pytest.mark.parametrize("size", [1, 7, 1000, 300 * KIB])
def test_bytes_are_received_into_the_protocols_buffer(loop: Loop, size: int) -> None:
    connection = connect(loop, lambda: Buffered(size))
    data = random.Random(3).randbytes(700)
    connection.peer.send(data)
    run_until(loop, lambda: len(connection.protocol.received) == len(data))
    assert connection.protocol.received == data
    assert set(connection.protocol.hints) == {-1}
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "eof", "lost"]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_may_be_of_any_writable_kind(loop: Loop, kind: Any) -> None:
    class Kind(Buffered):
        def get_buffer(self, sizehint: int) -> Any:
            return self.buffer if kind is bytearray else memoryview(self.buffer)[10:20]

        def buffer_updated(self, nbytes: int) -> None:
            start = 0 if kind is bytearray else 10
            self.events.append(("data", bytes(self.buffer[start : start + nbytes])))

    connection = connect(loop, Kind)
    connection.peer.send(b"0123456789abc")
    run_until(loop, lambda: len(connection.protocol.received) == 13)
    assert connection.protocol.received == b"0123456789abc"
    assert connection.protocol.buffer[20:] == bytes(980)
    connection.end()


def test_no_buffer_stays_exported_between_receives(loop: Loop) -> None:
    connection = connect(loop, Buffered)
    connection.peer.send(b"x" * 100)
    run_until(loop, lambda: connection.protocol.received)
    connection.protocol.buffer.clear()
    connection.protocol.buffer.extend(bytes(50))
    connection.peer.send(b"y" * 100)
    run_until(loop, lambda: len(connection.protocol.received) == 200)
    connection.end()


@pytest.mark.parametrize("bad", [b"read-only", bytearray(), memoryview(b""), "text", None, 0, [1]])
def test_a_bad_buffer_ends_the_connection_and_is_told(loop: Loop, contexts: list[dict[str, Any]], bad: Any) -> None:
    class Bad(Buffered):
        def get_buffer(self, sizehint: int) -> Any:
            return bad

    connection = connect(loop, Bad)
    connection.peer.send(b"data")
    run_until(loop, lambda: connection.protocol.is_lost)
    (told,) = contexts
    assert told["message"] in (
        "Fatal error: protocol.get_buffer() call failed.",
        # A buffer that only the kernel's call finds to be bad.
        "Fatal read error on socket transport",
    )
    assert told["transport"] is connection.transport
    assert told["protocol"] is connection.protocol
    assert connection.protocol.lost_with is told["exception"]
    connection.peer.close()


def test_a_plain_protocol_can_follow_a_buffered_one_and_back(loop: Loop) -> None:
    connection = connect(loop, Buffered)
    plain, buffered = Recorder(), Buffered(10)
    connection.peer.send(b"one")
    settle(loop)
    connection.transport.set_protocol(plain)
    connection.peer.send(b"two")
    settle(loop)
    connection.transport.set_protocol(buffered)
    connection.peer.send(b"three")
    settle(loop)
    received = [each.received for each in (connection.protocol, plain, buffered)]
    assert received == [b"one", b"two", b"three"]
    connection.end()


def test_a_protocol_is_looked_at_anew_when_its_methods_are_replaced(loop: Loop) -> None:
    connection = connect(loop)
    got: list[bytes] = []
    connection.peer.send(b"one")
    settle(loop)
    connection.protocol.data_received = got.append  # type: ignore[method-assign]
    connection.peer.send(b"two")
    settle(loop)
    assert connection.protocol.received == b"one"
    connection.end()


def test_two_transports_of_one_protocol_are_told_apart_by_what_they_bring(loop: Loop) -> None:
    shared = Recorder()
    first, second = connect(loop, lambda: shared), connect(loop, lambda: shared)
    first.peer.send(b"first")
    settle(loop)
    second.peer.send(b"second")
    settle(loop)
    assert shared.received == b"firstsecond"
    first.end()
    second.end()
    assert shared.names.count("lost") == 2


def test_the_context_of_the_connection_is_that_of_the_protocol(loop: Loop) -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: dict[str, str] = {}

    class Looks(Recorder):
        def connection_made(self, transport: Any) -> None:
            seen["made"] = variable.get()
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            seen["data"] = variable.get()

        def eof_received(self) -> bool:
            seen["eof"] = variable.get()
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            seen["lost"] = variable.get()
            super().connection_lost(exc)

    ours, theirs = socket.socketpair()

    async def main() -> Looks:
        variable.set("the connection's")
        _, protocol = await loop.create_connection(Looks, sock=ours)
        return protocol

    protocol = run(loop, main())
    theirs.send(b"x")
    settle(loop)
    theirs.close()
    run_until(loop, lambda: protocol.is_lost)
    assert seen == dict.fromkeys(["made", "data", "eof", "lost"], "the connection's")
