"""What a transport's ``write`` and ``writelines`` take, and how the methods are reached."""

import array
import asyncio
import os
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Connection, Recorder, connect
from .loops import ferrio_only, run, run_until, turn

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
