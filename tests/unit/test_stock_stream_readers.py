"""asyncio's own stream reader: when the transport fills it itself, and that every byte arrives.

That a program sees of it what it sees on asyncio is for ``tests/parity/test_stock_stream_readers.py``.
"""

import asyncio
import contextlib
import functools
import random
import socket
import subprocess
import sys
import weakref
from collections.abc import Awaitable
from typing import Any
from unittest import mock

import pytest

from .loops import ferrio_only, new_loop, run, run_until, turn
from .memory import grown
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop
KIB, MIB = 1 << 10, 1 << 20
#: The functions through which asyncio fills a reader.
FILLING = ("data_received", "feed_data", "_wakeup_waiter")
needs_inline_values = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="instances of Python classes keep their attributes elsewhere before 3.13"
)


class Streams:
    """A reader and a writer of asyncio's, and the socket at the other end."""

    def __init__(self, loop: Loop, limit_bytes: int = 64 * KIB) -> None:
        self.loop = loop
        ours, self.peer = tcp_pair()
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        self.peer.setblocking(False)
        self.reader, self.writer = run(loop, asyncio.open_connection(sock=ours, limit=limit_bytes))

    def read(self, reading: Awaitable[bytes], data: bytes = b"") -> tuple[bytes, set[str]]:
        """Send *data*, read; the result, and which of the functions above were called."""
        calls: set[str] = set()

        async def read() -> bytes:
            if data:
                self.loop.call_soon(self.peer.send, data)
            return await reading

        sys.setprofile(lambda frame, event, _: calls.add(frame.f_code.co_name) if event == "call" else None)
        try:
            return run(self.loop, read()), calls.intersection(FILLING)
        finally:
            sys.setprofile(None)

    def called(self) -> set[str]:
        """The functions that one message goes through."""
        data, calls = self.read(self.reader.read(100), b"message")
        assert data == b"message"
        return calls

    def end(self) -> None:
        self.peer.close()
        self.writer.close()
        run(self.loop, self.writer.wait_closed())


@pytest.fixture
def streams(loop: Loop) -> Any:
    streams = Streams(loop)
    yield streams
    streams.end()


@ferrio_only
@needs_inline_values
@pytest.mark.parametrize("size", [1, KIB, 64 * KIB, MIB])
def test_the_reader_is_filled_without_calling_python(streams: Streams, size: int) -> None:
    data = random.Random(size).randbytes(size)

    async def send() -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[streams.peer.send(left) :]
            except BlockingIOError:
                await asyncio.sleep(0)

    sending = streams.loop.create_task(send())
    received, calls = streams.read(streams.reader.readexactly(size))
    assert sending.done()
    assert received == data
    assert not calls


#: A class has room for fewer attributes with each instance; a client's protocol is not given all of them.
AFTER_MANY_CLIENTS = """
import asyncio, socket, sys
import ferrio

async def main():
    for _ in range(40):
        asyncio.StreamReaderProtocol(asyncio.StreamReader())
    ours, peer = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    called = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    peer.send(b"message")
    assert await reader.read(100) == b"message"
    sys.setprofile(None)
    print("read" in called, "feed_data" in called)
    peer.close()
    writer.close()
    await writer.wait_closed()

ferrio.run(main())
"""


@ferrio_only
@needs_inline_values
def test_the_reader_is_filled_without_calling_python_after_many_clients() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", AFTER_MANY_CLIENTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("True False\n", "")


@ferrio_only
@needs_inline_values
@pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter"])
def test_a_patch_is_called_for_as_long_as_it_lasts(streams: Streams, name: str) -> None:
    original = getattr(asyncio.StreamReader, name)
    # The interpreter has no number left for the states of a class that was changed so often.
    for _ in range(1_100):
        setattr(asyncio.StreamReader, name, None)
        assert getattr(asyncio.StreamReader, name) is None
        setattr(asyncio.StreamReader, name, original)
    assert not streams.called()
    with mock.patch.object(asyncio.StreamReader, name, autospec=True, side_effect=original) as patched:
        streams.called()
        assert patched.call_count == 1
    assert not streams.called()


@ferrio_only
@needs_inline_values
def test_a_change_of_a_base_class_is_seen(streams: Streams) -> None:
    assert not streams.called()
    base: Any = asyncio.streams.FlowControlMixin
    base._stream_reader_wr = property(lambda self: vars(self)["_stream_reader_wr"])
    try:
        assert streams.called() == set(FILLING)
    finally:
        del base._stream_reader_wr


@ferrio_only
@needs_inline_values
def test_a_wrapped_function_is_not_taken_for_asyncios(streams: Streams) -> None:
    original = asyncio.StreamReader.feed_data
    calls: list[bytes] = []

    @functools.wraps(original)
    def wrapper(self: asyncio.StreamReader, data: bytes) -> None:
        calls.append(data)
        original(self, data)

    with mock.patch.object(asyncio.StreamReader, "feed_data", wrapper):
        streams.called()
    assert calls == [b"message"]


def test_an_attribute_of_the_instance_is_seen_until_it_is_deleted(streams: Streams) -> None:
    fed: list[bytes] = []

    def feed_data(data: Any) -> None:
        fed.append(data)
        asyncio.StreamReader.feed_data(streams.reader, data)

    for message in (b"one", b"two"):
        streams.reader.feed_data = feed_data  # type: ignore[method-assign]
        streams.called()
        assert fed.pop() == b"message"
        del streams.reader.feed_data
        streams.called()
        assert not fed, message


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_arrives_once_and_in_order(loop: Loop, seed: int) -> None:
    chance = random.Random(seed)
    streams = Streams(loop, limit_bytes=chance.choice([1, 100, 64 * KIB]))
    data = chance.randbytes(2 * MIB)

    async def send() -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[streams.peer.send(left[: chance.choice([1, KIB, 100 * KIB, MIB])]) :]
            except BlockingIOError:
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        streams.peer.shutdown(socket.SHUT_WR)

    async def receive() -> bytes:
        received = bytearray()
        while not streams.reader.at_eof():
            count = chance.choice([1, 10 * KIB, 300 * KIB])
            if chance.random() < 0.5:
                received += await streams.reader.read(count)
                continue
            try:
                received += await streams.reader.readexactly(count)
            except asyncio.IncompleteReadError as error:
                received += error.partial
        return bytes(received)

    async def both() -> bytes:
        sending = asyncio.create_task(send())
        received = await receive()
        await sending
        return received

    assert run(loop, both()) == data
    streams.end()


def test_a_cancelled_read_loses_no_byte(streams: Streams) -> None:
    async def play() -> bytes:
        received = bytearray()
        for number in range(50):
            reading = asyncio.create_task(streams.reader.read(10))
            await asyncio.sleep(0)
            streams.peer.send(bytes([number]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                received += await reading
        streams.peer.shutdown(socket.SHUT_WR)
        return bytes(received + await streams.reader.read())

    assert run(streams.loop, play()) == bytes(range(50))


def test_a_reader_that_nobody_holds_dies_and_its_bytes_are_dropped(loop: Loop) -> None:
    streams = Streams(loop)
    reader = weakref.ref(streams.reader)
    streams.peer.send(b"for somebody")
    turn(loop, 3)
    del streams.reader
    streams.writer._reader = None  # type: ignore[attr-defined]
    assert reader() is None
    streams.peer.send(b"for nobody")
    turn(loop, 3)
    assert not streams.writer.is_closing()
    streams.end()


def test_a_message_leaves_nothing_behind(streams: Streams) -> None:
    async def exchange() -> None:
        reading = asyncio.ensure_future(streams.reader.read(KIB))
        await asyncio.sleep(0)
        streams.peer.send(b"x" * 100)
        assert await reading == b"x" * 100

    # Some blocks belong to caches of the interpreter; what a message left would be thousands.
    assert grown(lambda: run(streams.loop, exchange())) < 1000


def test_a_large_message_meets_a_view_of_the_buffer_as_on_asyncio(loop: Loop) -> None:
    """The buffer cannot grow while somebody has a view of it: that ends the connection, and the buffer is as it was."""
    streams = Streams(loop, limit_bytes=MIB)
    reported: list[Any] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    for size in (64 * KIB, 100 * KIB):
        assert streams.read(streams.reader.readexactly(size), b"x" * size)[0] == b"x" * size
    streams.peer.send(b"unread" * 5 * KIB)
    buffer: bytearray = streams.reader._buffer  # type: ignore[attr-defined]
    run_until(loop, lambda: len(buffer) == 30 * KIB)
    with memoryview(buffer):
        streams.peer.send(b"y" * 64 * KIB)
        run_until(loop, lambda: reported)
    assert [type(context["exception"]) for context in reported] == [BufferError]
    assert reported[0]["message"] == "Fatal error: protocol.data_received() call failed."
    assert bytes(buffer) == b"unread" * 5 * KIB
    streams.peer.close()
    with pytest.raises(BufferError):
        run(loop, streams.writer.wait_closed())


def test_large_messages_leave_nothing_behind(streams: Streams) -> None:
    async def exchange() -> None:
        message = b"x" * 100 * KIB
        streams.peer.send(message)
        assert await streams.reader.readexactly(100 * KIB) == message
        assert not streams.reader._buffer  # type: ignore[attr-defined]

    assert grown(lambda: run(streams.loop, exchange())) < 1000


@ferrio_only
def test_a_reader_of_another_loop_is_woken_on_its_own() -> None:
    """The reader's waiter belongs to the loop that it was made by, which is asked to run its callbacks."""
    loop, other = new_loop(), new_loop()
    streams = Streams(loop)
    waiter = other.create_future()
    woken: list[object] = []
    waiter.add_done_callback(woken.append)
    streams.reader._waiter = waiter  # type: ignore[attr-defined]
    streams.peer.send(b"data")
    turn(loop, 3)
    assert waiter.done()
    assert not woken
    turn(other)
    assert woken == [waiter]
    streams.end()
    loop.close()
    other.close()


@pytest.mark.parametrize("size", [KIB, 64 * KIB, MIB])
def test_a_server_echoes_through_its_readers(loop: Loop, size: int) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64 * KIB):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def play() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(5):
            message = bytes([number]) * size
            writer.write(message)
            assert await reader.readexactly(size) == message
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, play())
