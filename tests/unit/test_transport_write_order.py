"""Bytes leave a transport in order: what is sent together, what is large, files in between."""

import asyncio
import itertools
import os
import random
import socket
import struct
from typing import Any

import pytest

from .connections import Recorder, connect, connect_both
from .loops import ferrio_only, run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


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
