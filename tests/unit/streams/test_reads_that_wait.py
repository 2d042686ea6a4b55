"""Reads that wait: cancelled, two at once, woken in vain, ended by an exception."""

import asyncio
import asyncio as stdlib
from typing import Any

import pytest

from ..loops import run
from .reads import WAITING


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
