"""Reads of a ``StreamReader`` that is fed by hand."""

import asyncio
import asyncio as stdlib
import gc
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest import mock

import pytest

import ferrio
import ferrio.asyncio

from ..loops import run, turn

TEXT = b"ab\r\ncd\n\r\n\r\nX"
TUPLES = sys.version_info >= (3, 13)

#: Reads until one of them says that there is no more.
READS: dict[str, Callable[[Any], Coroutine[Any, Any, bytes]]] = {
    "read(1)": lambda reader: reader.read(1),
    "read(3)": lambda reader: reader.read(3),
    "read(n=100)": lambda reader: reader.read(n=100),
    "read()": lambda reader: reader.read(),
    "readexactly(2)": lambda reader: reader.readexactly(2),
    "readexactly(n=5)": lambda reader: reader.readexactly(n=5),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(),
    "readuntil(2 bytes)": lambda reader: reader.readuntil(b"\r\n"),
    "readuntil(4 bytes)": lambda reader: reader.readuntil(separator=b"\r\n\r\n"),
    "readuntil(bytearray)": lambda reader: reader.readuntil(bytearray(b"d\n")),
    "readuntil(absent)": lambda reader: reader.readuntil(b"nowhere"),
}
if TUPLES:
    READS["readuntil(tuple)"] = lambda reader: reader.readuntil((b"\r\n\r\n", b"\n", b"d\n"))
    READS["readuntil(long and short)"] = lambda reader: reader.readuntil((b"cd\n\r\n\r", b"X"))


def splits(text: bytes, pieces: int) -> Iterator[list[bytes]]:
    """Every way to cut *text* into so many pieces."""
    for cuts in itertools.combinations(range(1, len(text)), pieces - 1):
        yield [text[begin:end] for begin, end in itertools.pairwise((0, *cuts, len(text)))]


def shown(error: BaseException | None) -> Any:
    """An error with all that it tells, and what was being handled when it was raised."""
    if error is None:
        return None
    told = {name: getattr(error, name) for name in ("partial", "expected", "consumed") if hasattr(error, name)}
    return type(error).__name__, str(error), told, shown(error.__context__)


async def read_all(reader: Any, read: Callable[[Any], Coroutine[Any, Any, bytes]]) -> list[Any]:
    """The results of one read after the other, to the first error or empty result."""
    results: list[Any] = []
    while True:
        try:
            results.append(await read(reader))
        except Exception as error:
            results.append(shown(error))
            return results
        if not results[-1]:
            return results


async def observed(namespace: Any, pieces: list[bytes], read: Any, limit: int) -> list[Any]:
    """What reads come to when each piece is fed while somebody waits."""
    reader = namespace.StreamReader(limit=limit)
    task = stdlib.create_task(read_all(reader, read))
    for piece in pieces:
        await stdlib.sleep(0)
        if not task.done():
            reader.feed_data(piece)
    await stdlib.sleep(0)
    reader.feed_eof()
    results = await task
    return [*results, bytes(reader._buffer), reader.at_eof(), reader._waiter]


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("name", READS)
def test_a_text_is_read_alike_however_it_is_cut(loop: asyncio.AbstractEventLoop, name: str, pieces: int) -> None:
    async def main() -> None:
        for limit in (1, 2, 3, 100):
            for cut in splits(TEXT, pieces):
                mine = await observed(ferrio.asyncio, cut, READS[name], limit)
                theirs = await observed(asyncio, cut, READS[name], limit)
                assert mine == theirs, (cut, limit)

    run(loop, main())


@pytest.mark.parametrize("length", range(7))
@pytest.mark.parametrize("end", [b"", b"\n", b"\nrest", b"\n\n"])
@pytest.mark.parametrize("name", ["readline", "readuntil", "readuntil(absent)"])
def test_the_limit_is_asyncios_at_its_border(
    loop: asyncio.AbstractEventLoop, name: str, length: int, end: bytes
) -> None:
    async def main() -> None:
        for pieces in (1, 2):
            for cut in splits(b"x" * length + end, pieces):
                if cut != [b""]:
                    results = [await observed(each, cut, READS[name], 4) for each in (asyncio, ferrio.asyncio)]
                    assert results[0] == results[1], cut

    run(loop, main())


def test_pieces_of_all_sizes_are_joined(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    sizes = [1, 5, 4095, 4096, 4097, 70_000, 1, 1, 65_536, 3, 10]
    text = bytes(range(256)) * 1000
    text = text[: sum(sizes)]

    async def main() -> None:
        for take in (1, 7, 4096, 5000, 65_536, 100_000, len(text)):
            reader = ours.StreamReader(limit=2**20)
            for end, size in zip(itertools.accumulate(sizes), sizes, strict=True):
                reader.feed_data(text[end - size : end])
            reader.feed_eof()
            taken = b""
            while len(text) - len(taken) >= take and not (take == 1 and len(taken) > 10_000):
                taken += await reader.readexactly(take)
            rest = await reader.read()
            assert taken + rest == text

    run(loop, main())


def test_a_separator_across_three_pieces_is_found(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        for size in (1, 5000):
            reader = ours.StreamReader(limit=2**20)
            for piece in (b"x" * size, b"-", b"=", b"=>" + b"y" * size, b"-==>"):
                reader.feed_data(piece)
            assert await reader.readuntil(b"-==>") == b"x" * size + b"-==>"
            assert await reader.readuntil(b"-==>") == b"y" * size + b"-==>"
            assert reader._buffer == b""

    run(loop, main())


def test_arguments_are_judged_as_by_asyncio(loop: asyncio.AbstractEventLoop) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda reader: reader.read(1, 2),
        lambda reader: reader.read(m=1),
        lambda reader: reader.read("1"),
        lambda reader: reader.read(1.5),
        lambda reader: reader.read(True),
        lambda reader: reader.read(-5),
        lambda reader: reader.read(-(2**63)),
        lambda reader: reader.read(2**63 - 1),
        lambda reader: reader.read(2**80),
        lambda reader: reader.readexactly(),
        lambda reader: reader.readexactly(-1),
        lambda reader: reader.readexactly(-(2**63)),
        lambda reader: reader.readexactly(2**63 - 1),
        lambda reader: reader.readexactly(0),
        lambda reader: reader.readexactly(2**80),
        lambda reader: reader.readexactly(None),
        lambda reader: reader.readuntil(b""),
        lambda reader: reader.readuntil("\n"),
        lambda reader: reader.readuntil(()),
        lambda reader: reader.readuntil((b"",)),
        lambda reader: reader.readuntil((b"\n", "x")),
        lambda reader: reader.readuntil(10),
        lambda reader: reader.readuntil(memoryview(b"c")),
        lambda reader: reader.readline(1),
        lambda reader: reader.feed_data(),
        lambda reader: reader.feed_data("text"),
        lambda reader: reader.feed_data(5),
        lambda reader: reader.feed_data([1, 300]),
        lambda reader: reader.feed_data(b""),
        lambda reader: reader.feed_data(None),
    ]

    async def outcome(namespace: Any, call: Callable[[Any], Any], is_shown: bool) -> Any:
        reader = namespace.StreamReader()
        reader.feed_data(b"abc\ndef")
        reader.feed_eof()
        buffer = reader._buffer if is_shown else None
        try:
            result = call(reader)
            result = await result if asyncio.iscoroutine(result) else result
            return result, buffer
        except Exception as error:
            return type(error), str(error).replace("StreamReader.", ""), buffer

    async def main() -> None:
        for number, call in enumerate(calls):
            for is_shown in (False, True):
                theirs = await outcome(asyncio, call, is_shown)
                assert await outcome(ferrio.asyncio, call, is_shown) == theirs, number

    run(loop, main())


class DerivedBytes(bytes):
    pass


@pytest.mark.parametrize("data", [bytearray(b"ab\n"), memoryview(b"ab\n"), [97, 98, 10], DerivedBytes(b"ab\n")])
def test_whatever_extends_a_bytearray_can_be_fed(loop: asyncio.AbstractEventLoop, ours: Any, data: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        reader.feed_data(b"before ")
        reader.feed_data(data)
        reader.feed_data(b"after")
        assert await reader.readline() == b"before ab\n"
        assert await reader.read(10) == b"after"
        reader.feed_data(b"more\n")
        line = await reader.readline()
        assert (line, type(line)) == (b"more\n", bytes)

    run(loop, main())


def test_feeding_after_the_end_is_an_error(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        reader.feed_eof()
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            reader.feed_data(b"x")

    run(loop, main())


WAITING = {name: READS[name] for name in ("read(3)", "read()", "readexactly(2)", "readline", "readuntil(4 bytes)")}


@pytest.mark.parametrize("name", WAITING)
def test_a_cancelled_read_loses_no_byte(loop: asyncio.AbstractEventLoop, ours: Any, name: str) -> None:
    async def main() -> None:
        for is_fed in (False, True):
            reader = ours.StreamReader()
            partial = b"" if name in ("read(3)", "read()") else b"x"
            if partial:
                reader.feed_data(partial)
            task = stdlib.create_task(WAITING[name](reader))
            await stdlib.sleep(0)
            assert reader._waiter is not None
            if is_fed:
                # It is woken and cancelled in the same turn.
                reader.feed_data(b"\r\n\r\n")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reader._waiter is None
            reader.feed_data(b"end")
            reader.feed_eof()
            assert await reader.read() == partial + (b"\r\n\r\n" if is_fed else b"") + b"end"

    run(loop, main())


@pytest.mark.parametrize("first", WAITING)
@pytest.mark.parametrize("second", WAITING)
def test_two_reads_at_once_are_refused(loop: asyncio.AbstractEventLoop, ours: Any, first: str, second: str) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        task = stdlib.create_task(WAITING[first](reader))
        await stdlib.sleep(0)
        called = second.partition("(")[0].replace("readline", "readuntil")
        with pytest.raises(RuntimeError, match=rf"^{called}\(\) called while another coroutine is already waiting"):
            await WAITING[second](reader)
        task.cancel()
        await stdlib.wait([task])

    run(loop, main())


def test_a_read_that_was_woken_lets_another_take_the_bytes(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> list[Any]:
        results = []
        for first in ("read(3)", "readexactly(2)", "readline", "read()"):
            reader = ours.StreamReader()
            task = stdlib.create_task(WAITING[first](reader))
            await stdlib.sleep(0)
            reader.feed_data(b"abc\n")
            # It runs before the task does.
            results.append(await reader.read(100))
            await stdlib.sleep(0)
            if not task.done():
                reader.feed_data(b"again\n")
                reader.feed_eof()
            results.append(await task)
        return results

    assert run(loop, main()) == [b"abc\n", b"", b"abc\n", b"ag", b"abc\n", b"again\n", b"abc\n", b""]


def test_an_exception_ends_reads_that_wait_and_reads_that_come(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        for read in WAITING.values():
            reader, error = ours.StreamReader(), OSError("lost")
            task = stdlib.create_task(read(reader))
            await stdlib.sleep(0)
            reader.set_exception(error)
            with pytest.raises(OSError, match="lost") as raised:
                await task
            assert raised.value is error
            reader.feed_data(b"there is something\r\n\r\n")
            with pytest.raises(OSError, match="lost"):
                await read(reader)
            assert reader.exception() is error
            with pytest.raises(ValueError, match="can not be less"):
                await reader.readexactly(-1)

    run(loop, main())


def test_a_loop_over_a_reader_gives_its_lines(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        reader.feed_data(b"one\ntwo\nrest")
        loop.call_soon(reader.feed_data, b" of it")
        loop.call_soon(reader.feed_eof)
        assert [line async for line in reader] == [b"one\n", b"two\n", b"rest of it"]
        with pytest.raises(StopAsyncIteration):
            await reader.__anext__()

    run(loop, main())


def test_a_read_is_a_coroutine(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        for name, read in WAITING.items():
            coroutine = read(reader)
            assert asyncio.iscoroutine(coroutine)
            assert coroutine.__qualname__ == f"StreamReader.{name.partition('(')[0]}"
            coroutine.close()
            # Nothing happens before it is awaited.
            assert reader._waiter is None
        reader.feed_data(b"a\nbc")
        task = stdlib.create_task(reader.readline())
        assert await stdlib.wait_for(task, 1) == b"a\n"
        assert await stdlib.wait_for(reader.read(1), 1) == b"b"
        assert await stdlib.gather(reader.read(5)) == [b"c"]
        with pytest.raises(TimeoutError):
            await stdlib.wait_for(reader.readline(), 0.001)
        assert reader._waiter is None

    run(loop, main())


def test_a_read_that_nobody_awaits_warns(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    reader = ours.StreamReader(loop=loop)
    for read, name in ((reader.read, "read"), (reader.readline, "readline"), (reader.__anext__, "__anext__")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read()
            gc.collect()
        texts = [str(warning.message) for warning in caught]
        assert texts == [f"coroutine 'StreamReader.{name}' was never awaited"]


def test_a_long_line_in_pieces_takes_linear_time(loop: asyncio.AbstractEventLoop) -> None:
    async def spent(mebibytes: int) -> float:
        reader = ferrio.asyncio.StreamReader(limit=2**30)
        reader.feed_data(b"first\n")
        assert await reader.readline() == b"first\n"
        task = stdlib.create_task(reader.readline())
        piece = b"x" * 4096
        begin = time.process_time()
        for _ in range(mebibytes * 2**20 // len(piece)):
            await stdlib.sleep(0)
            reader.feed_data(piece)
        reader.feed_data(b"\n")
        assert len(await task) == mebibytes * 2**20 + 1
        return time.process_time() - begin

    async def main() -> None:
        small = min([await spent(1) for _ in range(3)])
        assert await spent(10) < 10 * 5 * small

    run(loop, main())


@pytest.mark.parametrize("sizes", [[190_000], [100, 50_000, 139_900], [1] * 200 + [189_800]])
def test_a_few_unread_bytes_keep_no_large_object_alive(
    loop: asyncio.AbstractEventLoop, ours: Any, sizes: list[int]
) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        received = [bytes(range(250)) * 800, bytes(reversed(range(250))) * 800]
        counts = [sys.getrefcount(data) for data in received]
        reader.feed_data(received[0])
        taken = [await reader.readexactly(size) for size in sizes]
        assert b"".join(taken) == received[0][: sum(sizes)]
        assert sys.getrefcount(received[0]) == counts[0]
        reader.feed_data(received[1])
        assert await reader.readexactly(10_000 + 199_000) == received[0][190_000:] + received[1][:199_000]
        assert sys.getrefcount(received[1]) == counts[1]
        reader.feed_eof()
        assert await reader.read() == received[1][199_000:]

    run(loop, main())


def test_short_lines_of_a_long_buffer_take_linear_time(loop: asyncio.AbstractEventLoop) -> None:
    async def spent(lines: int) -> float:
        reader = ferrio.asyncio.StreamReader(limit=2**30)
        reader.feed_data(b"0123456789\n" * lines)
        begin = time.process_time()
        for _ in range(lines):
            await reader.readline()
        return time.process_time() - begin

    async def main() -> None:
        small = min([await spent(2_000) for _ in range(3)])
        assert await spent(40_000) < 20 * 5 * small

    run(loop, main())


def test_a_reader_that_is_looked_at_shows_its_buffer(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        reader.feed_data(b"abc")
        buffer = reader._buffer
        assert (type(buffer), buffer) == (bytearray, b"abc")
        # It is the buffer, and no copy.
        buffer += b"def\n"
        reader.feed_data(b"gh")
        assert reader._buffer is buffer
        assert await reader.readline() == b"abcdef\n"
        assert buffer == b"gh"
        del buffer[0]
        task = stdlib.create_task(reader.readexactly(4))
        await stdlib.sleep(0)
        reader.feed_data(b"ijk")
        assert await task == b"hijk"
        assert not buffer
        del buffer
        reader.feed_data(b"l")
        assert await reader.read(5) == b"l"
        reader._buffer = bytearray(b"theirs\n")
        assert await reader.readline() == b"theirs\n"

    run(loop, main())


def test_a_read_goes_on_where_it_waited_when_the_buffer_has_been_looked_at(
    loop: asyncio.AbstractEventLoop, ours: Any
) -> None:
    async def begun(reading: Any) -> Any:
        task = stdlib.ensure_future(reading)
        await stdlib.sleep(0)
        return task

    async def main() -> None:
        # What has come is given out, though an exception has come behind it.
        for read in (
            lambda r: r.read(2),
            lambda r: r.readexactly(2),
            lambda r: r.readuntil(b"b"),
            lambda r: r.readline(),
        ):
            reader = ours.StreamReader()
            task = await begun(read(reader))
            reader.feed_data(b"ab" if "readline" not in str(task) else b"ab\n")
            assert len(reader._buffer) >= 2
            reader.set_exception(LookupError("theirs"))
            assert (await task).startswith(b"ab")
            with pytest.raises(LookupError):
                await read(reader)
        # `read` does not wait twice.
        for count in (10, -1):
            reader = ours.StreamReader()
            task = await begun(reader.read(count))
            buffer = reader._buffer
            reader.feed_data(b"abc")
            buffer.clear()
            assert await task == b""
        # How far has been searched is remembered.
        reader = ours.StreamReader()
        task = await begun(reader.readuntil(b"xy"))
        reader.feed_data(b"abcdefgx")
        await stdlib.sleep(0)
        await stdlib.sleep(0)
        reader._buffer[:] = b"xy12"
        waiter, reader._waiter = reader._waiter, None
        waiter.set_result(None)
        await stdlib.sleep(0)
        await stdlib.sleep(0)
        reader.feed_data(b"56789")
        reader.feed_data(b"xy")
        assert await task == b"xy1256789xy"

    run(loop, main())


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("name", READS)
def test_a_read_whose_buffer_is_looked_at_at_every_step_is_asyncios(
    loop: asyncio.AbstractEventLoop, name: str, pieces: int
) -> None:
    async def observed_read(namespace: Any, parts: list[bytes], limit: int) -> list[Any]:
        reader = namespace.StreamReader(limit=limit)
        seen: list[Any] = []
        for part in [*parts, b""]:
            task = stdlib.ensure_future(READS[name](reader))
            for _ in range(2):
                await stdlib.sleep(0)
                seen.append(bytes(reader._buffer))
            if part:
                reader.feed_data(part)
            else:
                reader.feed_eof()
            for _ in range(3):
                await stdlib.sleep(0)
                seen.append(bytes(reader._buffer))
            if not task.done():
                task.cancel()
            try:
                seen.append(await task)
            except (Exception, stdlib.CancelledError) as error:
                seen.append(shown(error))
        return seen

    async def main() -> None:
        for parts in splits(TEXT, pieces):
            for limit in (3, 100):
                theirs = await observed_read(stdlib, parts, limit)
                assert await observed_read(ferrio.asyncio, parts, limit) == theirs, (parts, limit)

    run(loop, main())


def test_a_buffer_that_is_shown_while_a_read_waits_is_read_to_the_end(
    loop: asyncio.AbstractEventLoop, ours: Any
) -> None:
    async def main() -> None:
        for name, result in (
            ("read()", b"ab\r\n\r\nc"),
            ("readline", b"ab\r\n"),
            ("readuntil(4 bytes)", b"ab\r\n\r\n"),
        ):
            reader = ours.StreamReader()
            task = stdlib.create_task(WAITING[name](reader))
            await stdlib.sleep(0)
            reader.feed_data(b"a")
            await stdlib.sleep(0)
            buffer = reader._buffer
            reader.feed_data(b"b\r\n")
            await stdlib.sleep(0)
            buffer.extend(b"\r\n")
            reader.feed_data(b"c")
            reader.feed_eof()
            assert await task == result

    run(loop, main())


def test_a_buffer_that_is_exported_is_refused_as_by_asyncio(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        reader = ours.StreamReader()
        reader.feed_data(b"abc")
        with memoryview(reader._buffer):
            with pytest.raises(BufferError, match="re-sized"):
                reader.feed_data(b"d")
            with pytest.raises(BufferError, match="re-sized"):
                await reader.read(2)
        assert await reader.read(9) == b"abc"

    run(loop, main())


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
