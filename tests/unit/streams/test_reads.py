"""Reads of a ``StreamReader`` that is fed by hand."""

import asyncio
import asyncio as stdlib
import gc
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import ferrio
import ferrio.asyncio

from ..loops import run
from .reads import READS, TEXT, WAITING, observed, splits


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
