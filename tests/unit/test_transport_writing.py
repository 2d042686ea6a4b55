"""Writing: types of data, order, what is sent together, and ``close``, ``abort`` and ``write_eof`` after it."""

import array
import asyncio
import itertools
import os
import random
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Connection, Recorder, connect, connect_both
from .loops import ferrio_only, run, run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


class Bytes(bytes):
    pass


class ByteArray(bytearray):
    pass


KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview of a bytearray": lambda data: memoryview(bytearray(data)),
    "part of a memoryview": lambda data: memoryview(b"<<" + data + b">>")[2:-2],
    "memoryview of words": lambda data: memoryview(array.array("I", data)),
    "memoryview of rows": lambda data: memoryview(data).cast("B", (2, len(data) // 2)),
    "subclass of bytes": Bytes,
    "subclass of bytearray": ByteArray,
}
SIZES = [4, 1000, 65536, 300_000]


@ferrio_only  # asyncio fails at views of anything but bytes
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_bytes_is_sent(loop: Loop, kind: str, size: int) -> None:
    expected = random.Random(size).randbytes(size)
    connection = connect(loop)
    connection.transport.write(KINDS[kind](expected))
    connection.transport.writelines([KINDS[kind](expected)])
    assert connection.receive(2 * size) == expected * 2
    connection.end()


@pytest.mark.parametrize("within", [False, True], ids=["outside a callback", "in a callback"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_nothing_sends_nothing(loop: Loop, kind: str, within: bool) -> None:
    connection = connect(loop)
    nothing = KINDS[kind](b"") if "rows" not in kind else b""

    def write() -> None:
        connection.transport.write(nothing)
        connection.transport.writelines([nothing, b""])
        connection.transport.writelines([])

    if within:
        loop.call_soon(write)
    else:
        write()
    turn(loop, 2)
    assert connection.transport.get_write_buffer_size() == 0
    connection.transport.write(b"end")
    assert connection.receive(3) == b"end"
    connection.end()


@pytest.mark.parametrize("data", ["text", None, 1, 1.5, [b"x"], object(), array.array("B", b"x")])
def test_what_is_no_bytes_is_refused_in_asyncios_words(loop: Loop, data: Any) -> None:
    theirs = asyncio.SelectorEventLoop()
    other = connect(theirs)
    with pytest.raises(TypeError) as expected:
        other.transport.write(data)
    other.end()
    theirs.close()
    connection = connect(loop)
    with pytest.raises(TypeError) as actual:
        connection.transport.write(data)
    assert actual.value.args == expected.value.args
    assert not connection.transport.is_closing()
    connection.transport.write(b"fine")
    assert connection.receive(4) == b"fine"
    connection.end()


@pytest.mark.parametrize("count", [1, 2, 64, 65, 1024, 1025, 3000])
def test_any_number_of_lines_leaves_in_order(loop: Loop, count: int) -> None:
    connection = connect(loop)
    kinds = [bytes, bytearray, memoryview]
    lines = [kinds[number % 3](b"%d," % number) for number in range(count)]
    lines[count // 2] = b""
    expected = b"".join(lines)
    connection.transport.writelines(lines)
    assert connection.receive(len(expected)) == expected
    assert connection.transport.get_write_buffer_size() == 0
    connection.end()


@ferrio_only
def test_lines_with_one_that_is_no_bytes_are_refused_as_a_whole(loop: Loop) -> None:
    connection = connect(loop)
    for lines in ([b"good", "text"], ["text", b"good"], [b"good", 1.5]):
        with pytest.raises(TypeError):
            connection.transport.writelines(lines)
    with pytest.raises(TypeError):
        connection.transport.writelines(1)
    connection.transport.write(b"end")
    assert connection.receive(3) == b"end"
    connection.end()


def test_an_exception_of_the_iterator_of_lines_comes_out_and_sends_nothing(loop: Loop) -> None:
    connection = connect(loop)

    def lines() -> Any:
        yield b"good"
        raise LookupError("theirs")

    with pytest.raises(LookupError):
        connection.transport.writelines(lines())
    connection.transport.write(b"end")
    assert connection.receive(3) == b"end"
    connection.end()


@ferrio_only  # asyncio keeps a view of the bytearray since 3.12
@pytest.mark.parametrize("size", [1, 100, 64 * 1024, MIB])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("within", [False, True], ids=["outside a callback", "in a callback"])
def test_changing_a_bytearray_after_the_write_changes_nothing(
    loop: Loop, size: int, is_full: bool, within: bool
) -> None:
    connection = connect(loop)
    before = b""
    if is_full:
        before = b"x" * (4 * MIB)
        connection.transport.write(before)
        assert connection.transport.get_write_buffer_size() > 0

    def write() -> None:
        data, view = bytearray(b"a" * size), bytearray(b"b" * size)
        connection.transport.write(data)
        connection.transport.write(memoryview(view))
        connection.transport.writelines([data, memoryview(view)])
        for each in (data, view):
            each[:] = b"?" * size
            # Nothing may hold on to the buffer: it can be resized.
            each.clear()

    if within:
        loop.call_soon(write)
    else:
        write()
    expected = (b"a" * size + b"b" * size) * 2
    assert connection.receive(len(before) + len(expected)) == before + expected
    connection.end()


def test_a_view_can_be_released_after_the_write(loop: Loop) -> None:
    connection = connect(loop)
    view = memoryview(bytearray(b"x" * MIB))
    connection.transport.write(view)
    view.release()
    assert connection.receive(MIB) == b"x" * MIB
    connection.end()


def test_bytes_that_wait_are_not_copied_and_are_released_when_sent(loop: Loop) -> None:
    connection = connect(loop)
    data = b"x" * (8 * MIB)
    before = sys.getrefcount(data)
    connection.transport.write(data)
    assert connection.receive(len(data)) == data
    run_until(loop, lambda: connection.transport.get_write_buffer_size() == 0)
    assert sys.getrefcount(data) == before
    connection.end()


# --- order and pieces ---------------------------------------------------------------------------------------


def test_bytes_arrive_in_the_order_in_which_they_were_written(loop: Loop) -> None:
    connection = connect(loop)
    dice = random.Random(7)
    expected = bytearray()

    def write() -> None:
        for _ in range(dice.randrange(8)):
            piece = dice.randbytes(dice.choice([0, 1, 10, 1000, 70_000, 200_000]))
            expected.extend(piece)
            match dice.randrange(3):
                case 0:
                    connection.transport.write(piece)
                case 1:
                    connection.transport.write(bytearray(piece))
                case 2:
                    middle = len(piece) // 2
                    connection.transport.writelines([piece[:middle], memoryview(piece)[middle:]])

    for _ in range(60):
        if dice.randrange(2):
            loop.call_soon(write)
            turn(loop)
        else:
            write()
    assert connection.receive(len(expected)) == expected
    connection.end()


def test_a_write_outside_a_callback_leaves_at_once(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"now")
    assert connection.peer.recv(10) == b"now"
    connection.transport.writelines([b"and ", b"now"])
    assert connection.peer.recv(10) == b"and now"
    connection.end()


def test_a_write_in_a_callback_has_left_when_the_turn_is_over(loop: Loop) -> None:
    connection = connect(loop)
    loop.call_soon(connection.transport.write, b"now")
    turn(loop)
    assert connection.peer.recv(10) == b"now"
    connection.end()


def test_a_write_in_a_callback_has_left_when_the_next_callback_runs(loop: Loop) -> None:
    connection = connect(loop)
    got: list[bytes] = []
    loop.call_soon(connection.transport.write, b"now")
    loop.call_soon(lambda: got.append(connection.peer.recv(10)))
    turn(loop)
    assert got == [b"now"]
    connection.end()


def test_a_write_in_a_callback_that_fails_leaves_all_the_same(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    connection = connect(loop)

    def write_and_fail() -> None:
        connection.transport.write(b"written")
        raise LookupError

    loop.call_soon(write_and_fail)
    turn(loop)
    assert connection.peer.recv(10) == b"written"
    assert len(contexts) == 1
    connection.end()


def test_a_write_in_a_callback_that_exits_leaves_all_the_same(loop: Loop) -> None:
    connection = connect(loop)

    def write_and_exit() -> None:
        connection.transport.write(b"written")
        raise KeyboardInterrupt

    loop.call_soon(write_and_exit)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert connection.peer.recv(10) == b"written"
    connection.end()


def test_asking_how_much_waits_sends_first(loop: Loop) -> None:
    connection = connect(loop)
    sizes: list[int] = []
    got: list[bytes] = []

    def write_and_ask() -> None:
        connection.transport.write(b"now")
        sizes.append(connection.transport.get_write_buffer_size())
        got.append(connection.peer.recv(10))

    loop.call_soon(write_and_ask)
    turn(loop)
    assert sizes == [0]
    assert got == [b"now"]
    connection.end()


def segments_sent(sock: Any) -> int:
    """The number of TCP segments with data that the socket has sent (``tcpi_data_segs_out``)."""
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    return int(struct.unpack_from("I", information, 156)[0])


@ferrio_only
def test_what_one_callback_writes_leaves_in_one_piece(loop: Loop) -> None:
    connection = connect(loop, pair=tcp_pair)
    sock = connection.transport.get_extra_info("socket")

    def respond() -> None:
        connection.transport.write(b"head")
        connection.transport.writelines([b"er", b" and "])
        connection.transport.write(bytearray(b"body"))

    before = segments_sent(sock)
    loop.call_soon(respond)
    turn(loop)
    assert segments_sent(sock) == before + 1
    assert connection.peer.recv(100) == b"header and body"
    loop.call_soon(connection.transport.write, b"one")
    loop.call_soon(connection.transport.write, b"two")
    turn(loop)
    assert segments_sent(sock) == before + 3
    connection.end()


@ferrio_only
def test_what_a_protocol_answers_leaves_in_one_piece(loop: Loop) -> None:
    class Answers(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"head")
            self.transport.write(b"body")

    connection = connect(loop, Answers, tcp_pair)
    sock = connection.transport.get_extra_info("socket")
    before = segments_sent(sock)
    connection.peer.send(b"?")
    assert connection.receive(8) == b"headbody"
    assert segments_sent(sock) == before + 1
    connection.end()


@ferrio_only
def test_many_bytes_leave_before_the_callback_ends(loop: Loop) -> None:
    connection = connect(loop)
    got: list[int] = []

    def write() -> None:
        connection.transport.write(b"x" * 70_000)
        got.append(len(connection.peer.recv(100)))

    loop.call_soon(write)
    turn(loop)
    assert got == [100]
    connection.end()


def test_transports_written_to_in_one_callback_do_not_mix(loop: Loop) -> None:
    connections = [connect(loop) for _ in range(10)]

    def write() -> None:
        for _ in range(3):
            for number, connection in enumerate(connections):
                connection.transport.write(b"%d " % number)

    loop.call_soon(write)
    turn(loop)
    for number, connection in enumerate(connections):
        assert connection.peer.recv(100) == b"%d " % number * 3
        connection.end()


# --- large --------------------------------------------------------------------------------------------------


def test_eight_mebibytes_go_out(loop: Loop) -> None:
    data = random.Random(1).randbytes(8 * MIB)
    connection = connect(loop)
    connection.transport.write(data)
    assert 0 < connection.transport.get_write_buffer_size() < len(data)
    assert connection.receive(len(data)) == data
    assert connection.transport.get_write_buffer_size() == 0
    connection.end()


def test_eight_mebibytes_come_in(loop: Loop) -> None:
    data = random.Random(2).randbytes(8 * MIB)
    connection = connect(loop)
    connection.peer.setblocking(False)
    left = memoryview(data)

    def send() -> None:
        nonlocal left
        try:
            left = left[connection.peer.send(left) :]
        except BlockingIOError:
            return
        if not left:
            loop.remove_writer(connection.peer)

    loop.add_writer(connection.peer, send)
    run_until(loop, lambda: len(connection.protocol.received) == len(data))
    assert connection.protocol.received == data
    assert all(type(piece) is bytes for name, *rest in connection.protocol.events for piece in rest)
    connection.end()


def test_eight_mebibytes_each_way_at_once(loop: Loop) -> None:
    first, second = connect_both(loop)
    there, back = random.Random(3).randbytes(8 * MIB), random.Random(4).randbytes(8 * MIB)
    first.transport.write(there)
    second.transport.writelines(back[start : start + 100_000] for start in range(0, len(back), 100_000))

    def is_complete() -> bool:
        counts = [sum(len(piece) for name, *rest in each.protocol.events for piece in rest) for each in (first, second)]
        return counts == [8 * MIB, 8 * MIB]

    run_until(loop, is_complete)
    assert second.protocol.received == there
    assert first.protocol.received == back
    first.end()
    second.end()


def test_many_small_lines_arrive(loop: Loop) -> None:
    connection = connect(loop)
    lines = [b"%d\n" % number for number in range(20_000)]
    connection.transport.writelines(lines)
    expected = b"".join(lines)
    assert connection.receive(len(expected)) == expected
    connection.end()


@pytest.mark.parametrize("make", [list, tuple, iter, dict.fromkeys, lambda lines: (line for line in lines)])
def test_lines_can_be_any_iterable(loop: Loop, make: Any) -> None:
    connection = connect(loop)
    connection.transport.writelines(make([b"one", b"two", b"three"]))
    assert connection.receive(11) == b"onetwothree"
    connection.end()


# --- the end ------------------------------------------------------------------------------------------------


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


# --- the method itself --------------------------------------------------------------------------------------


def test_write_can_be_replaced_on_the_instance(loop: Loop) -> None:
    connection = connect(loop)
    written: list[bytes] = []
    original = connection.transport.write
    connection.transport.write = written.append
    connection.transport.write(b"caught")
    assert written == [b"caught"]
    connection.transport.write = lambda data: original(data.upper())
    connection.transport.write(b"shout")
    assert connection.receive(5) == b"SHOUT"
    del connection.transport.write
    connection.transport.write(b"plain")
    assert connection.receive(5) == b"plain"
    connection.end()


def test_a_stream_writer_uses_a_replaced_write(loop: Loop) -> None:
    ours, peer = socket.socketpair()

    async def main() -> list[bytes]:
        _, writer = await asyncio.open_connection(sock=ours)
        written: list[bytes] = []
        writer.transport.write = written.append  # type: ignore[method-assign, assignment]
        writer.write(b"caught")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        return written

    assert run(loop, main()) == [b"caught"]
    peer.close()


def test_data_can_be_given_by_name(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(data=b"named")
    connection.transport.writelines(list_of_data=[b" too"])
    assert connection.receive(9) == b"named too"
    connection.end()


def test_bound_methods_can_be_scheduled(loop: Loop) -> None:
    connection = connect(loop)
    loop.call_soon(connection.transport.write, b"scheduled")
    loop.call_later(0, connection.transport.close)
    assert connection.receive_all() == b"scheduled"
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_a_sent_file_comes_between_what_was_written_before_and_after(loop: Loop, tmp_path: Any) -> None:
    path = tmp_path / "file"
    content = random.Random(5).randbytes(3 * MIB)
    path.write_bytes(content)
    connection = connect(loop, pair=tcp_pair)

    async def main() -> None:
        with open(path, "rb") as file:
            connection.transport.write(b"before")
            assert await loop.sendfile(connection.transport, file) == len(content)
            connection.transport.write(b"after")
        connection.transport.close()

    task = loop.create_task(main())
    assert connection.receive_all() == b"before" + content + b"after"
    loop.run_until_complete(task)
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_nothing_can_be_written_while_a_file_is_sent(loop: Loop, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (8 * MIB))
    connection = connect(loop, pair=tcp_pair)

    async def main() -> None:
        with open(path, "rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(connection.transport, file))
            await asyncio.sleep(0.001)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                connection.transport.write(b"between")
            await sending

    task = loop.create_task(main())
    assert connection.receive(8 * MIB) == b"x" * (8 * MIB)
    loop.run_until_complete(task)
    connection.end()


def test_a_tiny_send_buffer_is_no_obstacle(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection: Connection[Recorder] = connect(loop, pair=lambda: (ours, peer))
    data = os.urandom(300_000)
    for start in range(0, len(data), 1000):
        connection.transport.write(data[start : start + 1000])
    assert connection.receive(len(data)) == data
    connection.end()


def test_one_more_or_less_than_the_pieces_of_one_system_call(loop: Loop) -> None:
    connection = connect(loop)
    limit = os.sysconf("SC_IOV_MAX")
    for count in (limit - 1, limit, limit + 1, 3 * limit):
        lines = [bytes([number % 256]) for number in range(count)]
        connection.transport.writelines(lines)
        assert connection.receive(count) == b"".join(lines)
    for count, size in itertools.product((1, limit, limit + 1), (1, 3000)):
        for _ in range(count):
            connection.transport.write(b"y" * size)
        assert connection.receive(count * size) == b"y" * (count * size)
    connection.end()
