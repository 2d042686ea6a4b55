"""Large receives: every size around a threshold, what the program keeps of them, memory that has run out."""

import asyncio
import hashlib
import mmap
import os
import random
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .children import in_child
from .connections import Recorder, connect
from .loops import new_loop, run, run_until, turn
from .socket_pairs import Pair, tcp_pair

Loop = asyncio.AbstractEventLoop
KIB, MIB = 1 << 10, 1 << 20

#: Around what a copy is worth, what goes through asyncio's allocator, and what one receive brings at the most.
SIZES = [size + more for size in (4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB) for more in (-1, 0, 1)]


def random_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(size * 1000 + seed).randbytes(size)


def send(loop: Loop, peer: socket.socket, data: bytes, is_complete: Callable[[], bool]) -> None:
    """Send *data* while the loop turns, until all of it is sent and *is_complete*."""
    peer.setblocking(False)
    left = memoryview(data)

    def has_come() -> bool:
        nonlocal left
        try:
            while left:
                left = left[peer.send(left) :]
        except BlockingIOError:
            return False
        return is_complete()

    run_until(loop, has_come)


def pieces(recorder: Recorder) -> list[bytes]:
    return [details[0] for name, *details in recorder.events if name == "data"]


def deliver(loop: Loop, connection: Any, data: bytes) -> list[bytes]:
    """Send *data*, and return the objects in which it came."""
    before = pieces(connection.protocol)
    wanted = sum(map(len, before)) + len(data)
    send(loop, connection.peer, data, lambda: sum(map(len, pieces(connection.protocol))) >= wanted)
    return pieces(connection.protocol)[len(before) :]


@pytest.mark.parametrize("pair", [tcp_pair, socket.socketpair])
@pytest.mark.parametrize("before", [1, 300 * KIB])
def test_every_size_arrives_whole_behind_a_small_and_behind_a_large_one(
    loop: Loop, pair: Callable[[], Pair], before: int
) -> None:
    connection = connect(loop, pair=pair)
    for size in SIZES:
        deliver(loop, connection, random_bytes(before))
        data = random_bytes(size)
        came = deliver(loop, connection, data)
        assert b"".join(came) == data
        assert {type(piece) for piece in came} == {bytes}
        assert max(map(len, came)) <= 256 * KIB
    connection.end()


@pytest.mark.parametrize("pair", [tcp_pair, socket.socketpair])
def test_what_is_there_when_the_loop_looks_arrives_in_one_call(loop: Loop, pair: Callable[[], Pair]) -> None:
    connection = connect(loop, pair=pair)
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
    for size in (20 * KIB, 60 * KIB, 40 * KIB, 100, 50 * KIB):
        data = random_bytes(size)
        connection.peer.sendall(data)
        connection.protocol.events.clear()
        turn(loop, 3)
        assert pieces(connection.protocol) == [data]
    connection.end()


def test_bytes_that_the_program_keeps_never_change(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    kept: list[tuple[str, bytes | memoryview]] = []
    expected: list[bytes] = []
    for number, size in enumerate([*SIZES, *reversed(SIZES)]):
        data = random_bytes(size, number)
        expected.append(data)
        for piece in deliver(loop, connection, data):
            view = memoryview(piece)
            several: tuple[bytes | memoryview, ...] = (piece, view, view[len(view) // 3 :], piece[1:])
            kept.extend((hashlib.sha256(each).hexdigest(), each) for each in several)
            hash(piece)
    assert connection.protocol.received == b"".join(expected)
    for digest, each in kept:
        assert hashlib.sha256(each).hexdigest() == digest
    connection.end()


def test_a_connection_that_keeps_nothing_has_the_right_bytes_each_time(loop: Loop) -> None:
    class Digests(asyncio.Protocol):
        def __init__(self) -> None:
            self.digest = hashlib.sha256()
            self.count = 0

        def data_received(self, data: bytes) -> None:
            self.digest.update(data)
            self.count += len(data)

    connection = connect(loop, Digests, pair=tcp_pair)
    expected = hashlib.sha256()
    total = 0
    for number, size in enumerate(SIZES * 2):
        data = random_bytes(size, number)
        expected.update(data)
        total += size
        send(loop, connection.peer, data, lambda: connection.protocol.count >= total)
    assert connection.protocol.digest.digest() == expected.digest()
    connection.end()


def test_a_large_receive_that_ends_the_stream_is_followed_by_its_end(loop: Loop) -> None:
    for size in SIZES:
        connection = connect(loop, pair=tcp_pair)
        deliver(loop, connection, random_bytes(40 * KIB))
        data = random_bytes(size)
        send(loop, connection.peer, data, lambda: True)
        connection.peer.close()
        connection.protocol.events.clear()
        run_until(loop, lambda: connection.protocol.is_lost)
        assert connection.protocol.received == data
        assert connection.protocol.names == ["eof", "lost"]


def test_a_connection_that_breaks_behind_a_large_receive_is_lost_with_its_error(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    deliver(loop, connection, random_bytes(100 * KIB))
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert isinstance(connection.protocol.lost_with, ConnectionResetError)


def test_pausing_within_a_large_receive_leaves_the_rest_with_the_kernel(loop: Loop) -> None:
    class Pauses(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    connection = connect(loop, Pauses, pair=tcp_pair)
    data = random_bytes(600 * KIB)
    received = connection.protocol
    while len(received.received) < len(data):
        before = len(received.events)
        connection.transport.resume_reading()
        left = data[len(received.received) :]
        send(loop, connection.peer, b"" if before > 1 else left, lambda: len(received.events) > before)
        turn(loop, 3)
        assert len(received.events) == before + 1
    assert received.received == data
    connection.end()


# --- a buffer of the protocol's -------------------------------------------------------------------------------


def test_a_buffered_protocol_may_lend_another_buffer_each_time(loop: Loop) -> None:
    class Changing(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.lent: Any = None
            self.sizes = iter([1, 5000, 16 * KIB, 300 * KIB] * 1000)
            self.received = bytearray()
            self.kept: list[tuple[Any, bytes]] = []

        def get_buffer(self, sizehint: int) -> Any:
            size = next(self.sizes)
            self.lent = bytearray(size) if size % 2 else memoryview(bytearray(size + 7))[7:]
            return self.lent

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.lent[:nbytes]
            if len(self.kept) < 100:
                self.kept.append((self.lent, bytes(self.lent)))

    connection = connect(loop, Changing, pair=tcp_pair)
    data = random_bytes(2 * MIB)
    send(loop, connection.peer, data, lambda: len(connection.protocol.received) >= len(data))
    assert connection.protocol.received == data
    for lent, copy in connection.protocol.kept:
        assert bytes(lent) == copy
    connection.end()


# --- raw sockets, pipes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [16 * KIB, 64 * KIB, 256 * KIB, MIB, 16 * MIB])
def test_sock_recv_takes_what_is_there(loop: Loop, room: int) -> None:
    async def scenario() -> None:
        ours, peer = tcp_pair()
        ours.setblocking(False)
        peer.setblocking(False)
        with ours, peer:
            kept: list[tuple[bytes, bytes]] = []
            for number, size in enumerate([*SIZES, 1, *reversed(SIZES)]):
                data = random_bytes(size, number)
                sending = asyncio.ensure_future(loop.sock_sendall(peer, data))
                parts: list[bytes] = []
                while sum(map(len, parts)) < size:
                    part = await loop.sock_recv(ours, room)
                    assert type(part) is bytes
                    assert 0 < len(part) <= room
                    parts.append(part)
                    kept.append((part, hashlib.sha256(part).digest()))
                assert b"".join(parts) == data
                await sending
            for part, digest in kept:
                assert hashlib.sha256(part).digest() == digest

    run(loop, scenario())


def test_sock_recv_takes_more_than_a_transport_would(loop: Loop) -> None:
    async def scenario() -> int:
        ours, peer = tcp_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        ours.setblocking(False)
        peer.setblocking(False)
        with ours, peer:
            sent = 0
            try:
                while sent < MIB:
                    sent += peer.send(b"x" * MIB)
            except BlockingIOError:
                pass
            await asyncio.sleep(0.01)
            waiting = len(ours.recv(4 * MIB, socket.MSG_PEEK))
            assert len(await loop.sock_recv(ours, 4 * MIB)) >= waiting
            return waiting

    assert run(loop, scenario()) > 256 * KIB


@pytest.mark.parametrize("size", [2**62, 2**63 - 1])
def test_sock_recv_for_more_than_there_can_be_raises(loop: Loop, size: int) -> None:
    async def scenario() -> None:
        ours, peer = tcp_pair()
        ours.setblocking(False)
        with ours, peer:
            peer.send(b"x" * 100)
            with pytest.raises((MemoryError, OverflowError)):
                await loop.sock_recv(ours, size)
            assert await loop.sock_recv(ours, 1000) == b"x" * 100

    run(loop, scenario())


# --- memory that has run out --------------------------------------------------------------------------------------


def without_large_memory(scenario: Callable[[Callable[[], None], Callable[[], None]], str]) -> str:
    """Return the result of *scenario* in a child, which it is given two functions for: the first takes all memory in
    pieces of 100 kB and more, the second gives it back."""

    def limited() -> str:
        taken: list[bytearray] = []
        # Python's own small objects find memory all the while.
        spare = [[number] for number in range(20_000)]
        del spare[::2]

        def take() -> None:
            with open("/proc/self/statm") as file:
                size = int(file.read().split()[0]) * mmap.PAGESIZE
            resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MIB, resource.RLIM_INFINITY))
            try:
                while True:
                    taken.append(bytearray(100_000))
            except MemoryError:
                pass

        def give_back() -> None:
            taken.clear()
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        return scenario(take, give_back)

    return in_child(limited)  # type: ignore[no-any-return]


@pytest.mark.parametrize("before", [1, 60 * KIB])
def test_without_memory_for_a_large_receive_the_connection_ends_with_the_error(before: int) -> None:
    def scenario(take: Callable[[], None], give_back: Callable[[], None]) -> str:
        loop = new_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        connection, other = connect(loop, pair=tcp_pair), connect(loop, pair=tcp_pair)
        connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        for each in (connection, other):
            deliver(loop, each, random_bytes(before))
        connection.peer.sendall(random_bytes(200 * KIB))
        connection.protocol.events.clear()
        take()
        try:
            turn(loop, 5)
        finally:
            give_back()
        turn(loop, 2)
        assert connection.protocol.names == ["lost"]
        assert isinstance(connection.protocol.lost_with, MemoryError)
        (report,) = reports
        assert report["message"] == "Fatal read error on socket transport"
        assert isinstance(report["exception"], MemoryError)
        # Nothing else ends.
        assert b"".join(deliver(loop, other, b"x" * 50_000)) == b"x" * 50_000
        return "as promised"

    assert without_large_memory(scenario) == "as promised"


def test_without_memory_for_a_large_receive_sock_recv_raises(loop: Loop) -> None:
    def scenario(take: Callable[[], None], give_back: Callable[[], None]) -> str:
        inner = new_loop()

        async def main() -> str:
            ours, peer = tcp_pair()
            ours.setblocking(False)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
            with ours, peer:
                peer.sendall(b"x" * 60 * KIB)
                assert len(await inner.sock_recv(ours, 256 * KIB)) == 60 * KIB
                peer.sendall(b"x" * 200 * KIB)
                take()
                try:
                    await inner.sock_recv(ours, 256 * KIB)
                except MemoryError:
                    return "as promised"
                finally:
                    give_back()
                return "no error"

        return run(inner, main())

    assert without_large_memory(scenario) == "as promised"


def test_a_pipe_brings_large_and_small_blocks_by_turns(loop: Loop) -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        with open(reading, "rb", 0) as file, open(writing, "wb", 0) as source:
            transport, recorder = await loop.connect_read_pipe(Recorder, file)
            total = 0
            for number, size in enumerate([1, 16 * KIB - 1, 16 * KIB, 64 * KIB, 5, 64 * KIB, 16 * KIB + 1]):
                data = random_bytes(size, number)
                source.write(data)
                while len(recorder.received) < total + size:
                    await asyncio.sleep(0)
                assert recorder.received[total:] == data
                total += size
            transport.close()
            await asyncio.sleep(0)

    run(loop, scenario())
