"""Readers between a transport and a program: pauses, subclasses, replaced methods and attributes."""

import asyncio
import asyncio as stdlib
from typing import Any
from unittest import mock

import pytest

import ferrio
import ferrio.asyncio

from ..loops import run, turn


class Recorded:
    """A transport that records what it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.error = error

    def pause_reading(self) -> None:
        self.calls.append("pause")
        if self.error is not None:
            raise self.error

    def resume_reading(self) -> None:
        self.calls.append("resume")


def test_a_transport_is_paused_above_twice_the_limit_and_resumed_at_it(
    loop: asyncio.AbstractEventLoop, ours: Any
) -> None:
    async def main() -> None:
        reader, transport = ours.StreamReader(limit=4), Recorded()
        reader.set_transport(transport)
        reader.feed_data(b"12345678")
        assert (transport.calls, reader._paused) == ([], False)
        reader.feed_data(b"9")
        assert (transport.calls, reader._paused) == (["pause"], True)
        reader.feed_data(b"0")
        assert await reader.read(5) == b"12345"
        assert (transport.calls, reader._paused) == (["pause"], True)
        assert await reader.readexactly(1) == b"6"
        assert (transport.calls, reader._paused) == (["pause", "resume"], False)
        reader.feed_data(b"x" * 9)
        assert transport.calls[2:] == ["pause"]
        # More than is there: nothing would come while the transport is paused.
        task = stdlib.create_task(reader.readexactly(20))
        await stdlib.sleep(0)
        assert (transport.calls[3:], reader._paused) == (["resume"], False)
        reader.feed_data(b"y" * 7)
        assert await task == b"7890" + b"x" * 9 + b"y" * 7

    run(loop, main())


def test_a_transport_that_cannot_be_paused_is_not_asked_again(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader, transport = ours.StreamReader(limit=1), Recorded(NotImplementedError())
        reader.set_transport(transport)
        reader.feed_data(b"123")
        reader.feed_data(b"456")
        assert (transport.calls, reader._transport, reader._paused) == (["pause"], None, False)
        reader, transport = ours.StreamReader(limit=1), Recorded(ZeroDivisionError())
        reader.set_transport(transport)
        with pytest.raises(ZeroDivisionError):
            reader.feed_data(b"123")
        assert (reader._transport, reader._paused) == (transport, False)

    run(loop, main())


def test_a_subclass_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    asked: list[str] = []

    class Reader(ours.StreamReader):  # type: ignore[misc]
        def __init__(self, more: str, **named: Any) -> None:
            super().__init__(**named)
            self.more = more

        def feed_data(self, data: bytes) -> None:
            asked.append(f"feed {data!r}")
            super().feed_data(data)

        def _wakeup_waiter(self) -> None:
            asked.append("wake")
            super()._wakeup_waiter()

        async def _wait_for_data(self, func_name: str) -> None:
            asked.append(f"wait {func_name}")
            await super()._wait_for_data(func_name)

        async def readuntil(self, separator: bytes = b"\n") -> bytes:
            asked.append(f"until {separator!r}")
            return bytes(await super().readuntil(separator))

    async def main() -> None:
        reader = Reader("more", limit=10)
        loop.call_soon(reader.feed_data, b"ab\n")
        assert await reader.readline() == b"ab\n"

    run(loop, main())
    assert asked == ["until b'\\n'", "wait readuntil", "feed b'ab\\n'", "wake"]


def test_methods_set_on_a_reader_are_called(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        asked: list[Any] = []

        async def wait_for_data(name: str) -> None:
            asked.append(name)
            reader.feed_data(b"x\n")

        reader._wait_for_data = wait_for_data
        assert await reader.readline() == b"x\n"
        assert await reader.read(1) == b"x"
        reader._wakeup_waiter = lambda: asked.append("wake")
        reader.feed_data(b"y")
        assert asked == ["readuntil", "read", "wake"]

    run(loop, main())


def test_methods_replaced_in_the_class_are_called(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    """As tests, tracers and fault injectors do; and no more once it is undone."""

    async def read_until(self: Any, separator: bytes = b"\n") -> bytes:
        return b"patched"

    async def wait_for_data(self: Any, name: str) -> None:
        asked.append(name)
        self._buffer.extend(b"x\n")

    asked: list[str] = []

    async def main() -> None:
        reader = ours.StreamReader()
        protocol = ours.StreamReaderProtocol(reader)
        writer = ours.StreamWriter(mock.Mock(is_closing=lambda: False), protocol, reader, loop)
        protocol.data_received(b"line\n")
        with mock.patch.object(ours.StreamReader, "readuntil", read_until):
            assert await reader.readline() == b"patched"
        with mock.patch.object(ours.StreamReader, "feed_data") as feed_data:
            protocol.data_received(b"other")
        feed_data.assert_called_once_with(b"other")
        with mock.patch.object(ours.StreamReader, "_wakeup_waiter") as wake:
            protocol.data_received(b"more\n")
        wake.assert_called_once_with()
        failing = mock.patch.object(ours.StreamReader, "exception", side_effect=[KeyError("theirs")])
        with failing, pytest.raises(KeyError):
            await writer.drain()
        await writer.drain()
        assert [await reader.readline(), await reader.readline()] == [b"line\n", b"more\n"]
        with mock.patch.object(ours.StreamReader, "_wait_for_data", wait_for_data):
            assert await reader.readline() == b"x\n"
        assert asked == ["readuntil"]
        # A read that waits meanwhile ends, whichever code goes on with it.
        reading = stdlib.ensure_future(reader.readexactly(4))
        await stdlib.sleep(0)
        with mock.patch.object(ours.StreamReader, "readuntil", read_until):
            protocol.data_received(b"ab")
            await stdlib.sleep(0)
            assert await reader.readline() == b"patched"
        protocol.data_received(b"cd")
        assert await reading == b"abcd"

    run(loop, main())


def test_a_reader_is_native_again_when_its_class_is_as_it_was(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        data = bytes(1000)
        for name in ferrio._ferrio.STREAM_READER_METHODS:
            with mock.patch.object(ferrio.asyncio.StreamReader, name):
                pass
            reader = ferrio.asyncio.StreamReader()
            reader.feed_data(data)
            # asyncio's code copies.
            assert await reader.read(1000) is data

    run(loop, main())


def test_a_waiter_that_a_program_makes_is_woken(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    reader = ours.StreamReader(loop=loop)
    waiter: Any = asyncio.Future(loop=loop)
    reader._waiter = waiter
    reader.feed_data(b"x")
    assert (waiter.result(), reader._waiter) == (None, None)
    reader._waiter = waiter
    with pytest.raises(asyncio.InvalidStateError):
        reader.feed_data(b"y")
    waiter = asyncio.Future(loop=loop)
    waiter.cancel()
    reader._waiter = waiter
    reader.feed_data(b"z")
    assert reader._waiter is None
    turn(loop)


def test_a_reader_tells_what_asyncios_tells(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    reader = ours.StreamReader(loop=loop)
    assert repr(reader) == "<StreamReader>"
    reader.feed_data(b"abc")
    reader.set_exception(OSError(1))
    reader.feed_eof()
    assert repr(reader) == "<StreamReader 3 bytes eof exception=OSError(1)>"
    assert not reader.at_eof()
    other = ours.StreamReader(7, loop)
    assert (repr(other), other._limit, other._loop) == ("<StreamReader limit=7>", 7, loop)
    for limit in (0, -1):
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            ours.StreamReader(limit, loop=loop)


def test_a_limit_that_is_no_plain_number_is_asyncios_to_compare(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader(limit=2.5)
        reader.feed_data(b"ab\nabc\n")
        assert await reader.readline() == b"ab\n"
        with pytest.raises(ValueError, match="longer than limit"):
            await reader.readline()

    run(loop, main())
