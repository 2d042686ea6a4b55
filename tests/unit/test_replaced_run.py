"""A program that replaces ``_run`` of asyncio's handles, to time or to trace callbacks, sees all that the loop runs.

Libraries that log slow callbacks do so, while a loop runs or before one is made.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop
RUN: Any = asyncio.Handle._run


@pytest.fixture
def seen() -> Iterator[list[Any]]:
    """What was run, by its callback; a task's step by its task."""
    callbacks: list[Any] = []

    def run(handle: Any) -> Any:
        callbacks.append(getattr(handle._callback, "__self__", None) or handle._callback)
        return RUN(handle)

    def begin() -> None:
        asyncio.Handle._run = run  # type: ignore[attr-defined]

    callbacks.append(begin)
    yield callbacks
    asyncio.Handle._run = RUN  # type: ignore[attr-defined]


def noted() -> None:
    pass


async def steps(then: Callable[[], None] = noted) -> None:
    """Two steps, and one for the end of a wait."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.call_soon(waiter.set_result, None)
    await waiter
    then()


@pytest.mark.parametrize("is_running", [False, True], ids=["before the run", "while it runs"])
@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_replaced_run_sees_callbacks_and_the_steps_of_tasks(
    loop: Loop, seen: list[Any], is_running: bool, debug: bool
) -> None:
    loop.set_debug(debug)
    begin = seen.pop()

    async def main() -> None:
        if is_running:
            begin()
            await asyncio.sleep(0)
        loop.call_soon(noted)
        loop.call_later(0, noted)
        loop.call_soon_threadsafe(noted)
        task = asyncio.create_task(steps())
        await task
        await asyncio.sleep(0)
        assert seen.count(noted) == 3
        assert seen.count(task) >= 4 or len([each for each in seen if "TaskStep" in repr(each)]) >= 3

    if not is_running:
        begin()
    loop.run_until_complete(main())


def test_the_first_step_is_seen_by_a_loop_that_is_made_later(make_loop: Callable[[], Loop], seen: list[Any]) -> None:
    seen.pop()()

    async def main() -> int:
        return len(seen)

    assert make_loop().run_until_complete(main()) == 1


def test_callbacks_that_wait_already_are_seen(loop: Loop, seen: list[Any]) -> None:
    begin = seen.pop()

    async def main() -> None:
        begin()
        for _ in range(5):
            loop.call_soon(noted)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen.count(noted) == 5


def test_what_a_replaced_run_raises_is_reported_and_ends_nothing(loop: Loop, seen: list[Any]) -> None:
    seen.pop()
    reports: list[Any] = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
    error = ValueError("theirs")

    def run(handle: Any) -> Any:
        if handle._callback is noted:
            raise error
        return RUN(handle)

    async def main() -> None:
        asyncio.Handle._run = run  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        loop.call_soon(noted)
        await asyncio.sleep(0)

    try:
        loop.run_until_complete(main())
    except ValueError as raised:
        # asyncio's loop calls `_run` without a look at what it raises.
        reports.append(raised)
    assert reports == [error]


def test_once_put_back_it_is_not_called(loop: Loop, seen: list[Any]) -> None:
    begin = seen.pop()

    async def main() -> None:
        begin()
        await asyncio.sleep(0)
        asyncio.Handle._run = RUN  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        seen.clear()
        loop.call_soon(noted)
        await asyncio.create_task(steps())
        assert seen == []

    loop.run_until_complete(main())
