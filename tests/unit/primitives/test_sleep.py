"""``sleep``: how long, in which order, its timer, and what a cancelled or dropped one leaves."""

import asyncio
import asyncio as stdlib
import contextlib
import gc
import math
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from ..loops import run
from .namespace import ours


def sleeping(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """The handles of pending sleeps; a cancelled handle does not show what it would have called."""
    handles: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]
    return [handle for handle in handles if "_set_result_unless_cancelled" in repr(handle)]


@pytest.mark.parametrize("delay", [0, 0.0, -1, -0.5, -(10**30), False], ids=repr)
def test_sleep_without_a_delay_is_one_turn(loop: asyncio.AbstractEventLoop, delay: float) -> None:
    async def main() -> None:
        seen: list[str] = []
        loop.call_soon(seen.append, "turn")
        await ours.sleep(delay)
        assert seen == ["turn"]

    run(loop, main())


def test_sleep_takes_its_time(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        begin = loop.time()
        await ours.sleep(0.01)
        assert loop.time() - begin >= 0.0099

    run(loop, main())


def test_sleep_complains_when_it_is_awaited(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        coroutine = ours.sleep("soon")
        with pytest.raises(TypeError, match="'<=' not supported between instances of 'str' and 'int'"):
            await coroutine
        if sys.version_info >= (3, 13):
            with pytest.raises(ValueError, match="Invalid delay: NaN"):
                await ours.sleep(math.nan)

    run(loop, main())


def test_sleep_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        ours.sleep(1).send(None)


def test_a_cancelled_sleep_leaves_no_timer(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        with mock.patch.object(loop, "call_later", wraps=loop.call_later) as call_later:
            task = stdlib.create_task(ours.sleep(60))
            await stdlib.sleep(0)
            timers.append(call_later.mock_calls)
            task.cancel()
            await stdlib.wait([task])

    timers: list[Any] = []
    run(loop, main())
    assert len(timers[0]) == 1
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


def test_a_timer_of_a_sleep_is_shown_and_can_be_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        tasks = [stdlib.create_task(ours.sleep(0.02 + number / 1000)) for number in range(3)]
        await stdlib.sleep(0)
        begin = loop.time()
        shown = sorted(sleeping(loop), key=lambda handle: handle.when())
        assert [type(handle).__name__ for handle in shown] == ["TimerHandle"] * 3
        assert all(0 < handle.when() - begin < 0.03 for handle in shown)
        # The same ones each time.
        assert {id(handle) for handle in sleeping(loop)} == {id(handle) for handle in shown}
        shown[0].cancel()
        tasks[1].cancel()
        await tasks[2]
        await stdlib.sleep(0)
        assert [task.done() for task in tasks] == [False, True, True]
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        await stdlib.sleep(0)
        assert not [handle for handle in sleeping(loop) if not handle.cancelled()]

    run(loop, main())


def test_sleeps_end_in_the_order_of_their_deadlines_among_other_timers(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[int]:
        seen: list[int] = []

        async def sleep(number: int) -> None:
            await ours.sleep(number / 20)
            seen.append(number)

        tasks = [stdlib.create_task(sleep(number)) for number in (9, 3, 7, 1)]
        # All of them begin at about the same time.
        await stdlib.sleep(0)
        for number in (2, 8):
            loop.call_later(number / 20, seen.append, number)
        await stdlib.gather(*tasks)
        return seen

    assert run(loop, main()) == [1, 2, 3, 7, 8, 9]


def test_many_cancelled_sleeps_leave_the_timers_empty(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> int:
        for _ in range(10):
            tasks = [stdlib.create_task(ours.sleep(60)) for _ in range(100)]
            await stdlib.sleep(0)
            for task in tasks:
                task.cancel()
            await stdlib.gather(*tasks, return_exceptions=True)
        return len([handle for handle in sleeping(loop) if not handle.cancelled()])

    assert run(loop, main()) == 0


def test_a_sleep_that_is_dropped_wakes_nobody(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        coroutine = ours.sleep(0.001)
        future = coroutine.send(None)
        del coroutine
        gc.collect()
        await stdlib.sleep(0.005)
        assert not future.done()

    run(loop, main())


def test_a_sleep_in_debug_mode_has_a_handle(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    run(loop, ours.sleep(0.001))


def test_a_loop_of_another_class_is_asked_for_its_timers(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    calls: list[float] = []

    class Loop(type(make_loop())):  # type: ignore[misc]
        def call_later(self, delay: float, *args: Any, **keywords: Any) -> asyncio.TimerHandle:
            calls.append(delay)
            handle: asyncio.TimerHandle = super().call_later(delay, *args, **keywords)
            return handle

    other = Loop()
    try:
        other.run_until_complete(ours.sleep(0.001))
    finally:
        other.close()
    assert 0.001 in calls
