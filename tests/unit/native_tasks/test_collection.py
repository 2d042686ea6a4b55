"""Native tasks and the garbage collector: dropped tasks, forgotten tasks, tasks in cycles."""

import asyncio
import gc
import warnings
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import ferrio

from ..loops import ferrio_only, new_loop, run, turn
from ..memory import grown
from .coroutines import nothing, wait_for


def test_a_task_that_is_dropped_while_it_waits_is_reported(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    async def lose() -> None:
        loop.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)

    loop.run_until_complete(lose())
    turn(loop)
    gc.collect()
    assert [context["message"] for context in contexts] == ["Task was destroyed but it is pending!"]
    assert sorted(contexts[0]) == ["message", "task"]
    contexts.clear()
    # A freed task's memory may be the next one's: that one is reported as well.
    loop.run_until_complete(lose())
    gc.collect()
    assert len(contexts) == 1
    contexts.clear()


@ferrio_only
def test_a_long_chain_of_tasks_is_dropped_without_recursion(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        last: asyncio.Future[Any] = loop.create_future()
        for _ in range(20_000):
            last = asyncio.ensure_future(wait_for(last))
            last._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run(loop, main())
    gc.collect()
    assert contexts == []


def test_tasks_leak_nothing(loop: asyncio.AbstractEventLoop) -> None:
    def runs(make: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], None]:
        def action() -> None:
            loop.run_until_complete(make())

        return action

    async def spawn() -> None:
        await asyncio.create_task(nothing())

    async def cancel() -> None:
        task = asyncio.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def fail() -> None:
        task = asyncio.create_task(asyncio.wait_for(wait_for(loop.create_future()), 0))
        await asyncio.wait([task])
        task.exception()

    async def share() -> None:
        future = loop.create_future()
        tasks = [asyncio.create_task(wait_for(future)) for _ in range(3)]
        await asyncio.sleep(0)
        future.set_result(object())
        await asyncio.gather(*tasks)

    for make in (nothing, spawn, cancel, fail, share):
        assert grown(runs(make), 500) < 250, make.__name__


class Marked:
    """An object that can be weakly referenced."""


async def spin(*_held: Any) -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize("begins", [False, True])
def test_a_forgotten_loop_is_collected_with_the_tasks_that_are_ready(begins: bool) -> None:
    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)
    marked = Marked()

    async def main(*held: Any) -> None:
        tasks: list[asyncio.Task[None]] = []
        # Each has itself, its loop and the mark in its coroutine.
        tasks.extend(asyncio.create_task(spin(tasks, *held)) for _ in range(3))
        if begins:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    loop.run_until_complete(main(loop, marked))
    seen = weakref.ref(marked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop, marked
        gc.collect()
    assert seen() is None


def test_a_task_that_waits_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    marked = Marked()
    seen = weakref.ref(marked)

    async def wait(held: list[Any]) -> None:
        held.append(loop.create_future())
        await held[-1]

    async def main(marked: Marked) -> None:
        held: list[Any] = [marked]
        held.append(asyncio.create_task(wait(held)))
        held[-1]._log_destroy_pending = False
        await asyncio.sleep(0)

    run(loop, main(marked))
    del marked
    turn(loop)
    gc.collect()
    assert seen() is None


def test_a_task_that_has_ended_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    marked = Marked()
    seen = weakref.ref(marked)

    async def end(held: list[Any], how: str) -> list[Any]:
        if how == "late":
            await asyncio.sleep(0)
        if how == "error":
            error = KeyError(held)
            raise error
        return held

    async def main(marked: Marked) -> None:
        for how in ("at once", "late", "error", "cancelled"):
            held: list[Any] = [marked]
            held.append(asyncio.create_task(end(held, how)))
            if how == "cancelled":
                held[-1].cancel(held)
            await asyncio.wait(held[1:])
            if how == "error":
                held[-1].exception()

    run(loop, main(marked))
    del marked
    turn(loop)
    gc.collect()
    assert seen() is None


@ferrio_only
def test_a_collection_in_the_middle_of_a_burst_takes_nothing_away(loop: asyncio.AbstractEventLoop) -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        await asyncio.sleep(0)
        gc.collect(0)
        ended.append(number)

    async def main() -> None:
        for number in range(100):
            # Nobody but the loop has the task.
            asyncio.create_task(child(number))  # noqa: RUF006 - that is the point
            if number % 10 == 0:
                gc.collect()
        while len(ended) < 100:
            await asyncio.sleep(0)

    run(loop, main())
    assert ended == list(range(100))


def test_cycles_of_task_future_and_coroutine_are_collected(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    class Marked:
        pass

    async def hold(marked: Marked, box: list[Any]) -> None:
        box.append(asyncio.current_task())
        future = loop.create_future()
        box.append(future)
        await future

    async def main() -> weakref.ref[Marked]:
        marked = Marked()
        loop.create_task(hold(marked, []))
        reference = weakref.ref(marked)
        del marked
        await asyncio.sleep(0)
        return reference

    reference = loop.run_until_complete(main())
    gc.collect()
    assert reference() is None
    assert len(contexts) == 1
    contexts.clear()


def test_a_loop_dropped_with_ready_tasks_is_collected() -> None:
    loop = ferrio.Loop()
    reference = weakref.ref(loop)
    future = loop.create_future()
    task = loop.create_task(wait_for(future))
    turn(loop)
    task.cancel()
    other = loop.create_task(nothing())
    task._log_destroy_pending = other._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del loop, future, task
    other.get_coro().close()  # type: ignore[union-attr]
    del other
    gc.collect()
    assert reference() is None
