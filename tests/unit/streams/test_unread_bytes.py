"""The unread bytes of a reader: what they cost, and what a program sees of them."""

import asyncio
import asyncio as stdlib
import sys
import time
from typing import Any

import pytest

import ferrio
import ferrio.asyncio

from ..loops import run
from .reads import READS, TEXT, WAITING, shown, splits


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
        large = min([await spent(10) for _ in range(3)])
        assert large < 10 * 5 * small

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
        large = min([await spent(40_000) for _ in range(3)])
        assert large < 20 * 5 * small

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
