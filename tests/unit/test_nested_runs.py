"""``new_event_loop(nested=True)``: a run within a run of the same loop."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator

import pytest

import ferrio
from ferrio.testing import VirtualClock

from .loops import ferrio_only

pytestmark = ferrio_only

LIMIT_S = 30.0


@pytest.fixture(params=[True, False], ids=["native tasks", "asyncio's tasks"])
def loop(request: pytest.FixtureRequest) -> Iterator[ferrio.Loop]:
    loop = ferrio.new_event_loop(nested=True, native_tasks=request.param)
    yield loop
    loop.close()


async def double(value: int) -> int:
    await asyncio.sleep(0.001)
    return value * 2


def test_a_task_runs_another_to_its_end(loop: ferrio.Loop) -> None:
    async def main() -> list[int]:
        this = asyncio.current_task()
        other = asyncio.create_task(double(4))
        found = [loop.run_until_complete(double(1)), ferrio.run(double(2)), loop.run_until_complete(other)]
        assert asyncio.current_task() is this
        assert asyncio.get_running_loop() is loop
        return [*found, await double(3)]

    assert loop.run_until_complete(main()) == [2, 4, 8, 6]
    assert not loop.is_running()


def test_a_callback_runs_a_coroutine_and_its_context_stays(loop: ferrio.Loop) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    def callback() -> None:
        variable.set(1)
        loop.call_soon(lambda: seen.append(variable.get()))
        seen.append(loop.run_until_complete(double(5)))
        seen.append(variable.get())
        loop.stop()

    loop.call_soon(callback)
    loop.run_forever()
    assert seen == [1, 10, 1]


def test_runs_go_three_deep_and_end_from_the_inside(loop: ferrio.Loop) -> None:
    async def level(depth: int) -> int:
        await asyncio.sleep(0)
        return depth if depth == 3 else loop.run_until_complete(level(depth + 1)) + depth

    assert loop.run_until_complete(level(0)) == 6


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_a_coroutine_raises_is_raised_within(loop: ferrio.Loop, error: type[BaseException]) -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> int:
        with pytest.raises(error):
            loop.run_until_complete(failing())
        return await double(1)

    assert loop.run_until_complete(main()) == 2


def test_an_outer_future_that_ends_first_waits_for_the_run_within(loop: ferrio.Loop) -> None:
    ended: list[str] = []

    async def inner() -> None:
        await outer_ended.wait()
        await asyncio.sleep(0.001)
        ended.append("inner")

    async def nesting() -> None:
        loop.run_until_complete(inner())

    async def outer() -> None:
        tasks.append(asyncio.create_task(nesting()))
        await asyncio.sleep(0.001)
        outer_ended.set()
        ended.append("outer")

    tasks: list[asyncio.Task[None]] = []
    outer_ended = asyncio.Event()
    loop.run_until_complete(outer())
    assert ended == ["outer", "inner"]
    loop.run_until_complete(tasks[0])


def test_an_interrupted_run_within_cancels_its_coroutine(loop: ferrio.Loop) -> None:
    cleaned: list[bool] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def waiting() -> None:
        try:
            loop.call_soon(interrupt)
            await loop.create_future()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            ferrio.run(waiting(), debug=True)
        assert cleaned == [True]
        assert loop.get_debug() == before

    before = loop.get_debug()
    loop.run_until_complete(main())


def test_other_threads_wake_a_run_within(loop: ferrio.Loop) -> None:
    async def main() -> int:
        future = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, 7))
        loop.call_soon(thread.start)
        found: int = loop.run_until_complete(asyncio.wait_for(future, LIMIT_S))
        thread.join(LIMIT_S)
        return found

    assert loop.run_until_complete(main()) == 7


def test_another_thread_cannot_run_it_meanwhile(loop: ferrio.Loop) -> None:
    def elsewhere() -> str:
        future = loop.create_future()
        with pytest.raises(RuntimeError) as refused:
            loop.run_until_complete(future)
        return str(refused.value)

    assert loop.run_until_complete(asyncio.to_thread(elsewhere)) == "This event loop is already running"


def test_a_virtual_clock_moves_within() -> None:
    loop = ferrio.new_event_loop(nested=True, clock=VirtualClock())

    async def main() -> float:
        before = loop.time()
        loop.run_until_complete(asyncio.sleep(3600))
        return loop.time() - before

    assert loop.run_until_complete(main()) == pytest.approx(3600)
    loop.close()


def refused(run: Callable[[], object]) -> str:
    with pytest.raises(RuntimeError) as error:
        run()
    return str(error.value)


def test_a_loop_that_was_not_asked_refuses_as_asyncio_does() -> None:
    async def main() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        future, coroutine = loop.create_future(), double(1)
        try:
            return refused(lambda: loop.run_until_complete(future)), refused(lambda: ferrio.run(coroutine))
        finally:
            coroutine.close()

    assert ferrio.run(main()) == asyncio.run(main())


def test_a_factory_asks_for_a_loop_of_its_own(loop: ferrio.Loop) -> None:
    async def main() -> str:
        coroutine = double(1)
        try:
            return refused(lambda: ferrio.run(coroutine, loop_factory=ferrio.new_event_loop))
        finally:
            coroutine.close()

    assert "running event loop" in loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ["task", "callback", "waiting task"])
def test_what_shares_the_context_of_the_caller_is_put_off_until_that_has_ended(loop: ferrio.Loop, kind: str) -> None:
    context = contextvars.copy_context()
    seen: list[str] = []
    failures: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, failure: failures.append(failure))

    async def other() -> None:
        if kind == "waiting task":
            await asyncio.sleep(0)
        seen.append("the other")

    async def outer() -> "asyncio.Task[None] | None":
        task = None
        if kind == "callback":
            loop.call_soon(seen.append, "the other", context=context)
        else:
            task = loop.create_task(other(), context=context)
        # It is not lost, and does not keep the loop from sleeping.
        polls = loop.statistics().polls
        assert loop.run_until_complete(double(3)) == 6
        assert loop.statistics().polls - polls < 100
        seen.append("the caller")
        return task

    task = loop.run_until_complete(loop.create_task(outer(), context=context))
    loop.run_until_complete(double(1))
    assert seen == ["the caller", "the other"]
    assert task is None or task.done()
    assert failures == []


def test_what_was_put_off_two_levels_deep_runs_when_its_context_is_free(loop: ferrio.Loop) -> None:
    contexts = [contextvars.copy_context(), contextvars.copy_context()]
    seen: list[str] = []

    async def level(depth: int) -> None:
        if depth == 2:
            for number, context in enumerate(contexts):
                loop.call_soon(seen.append, f"in context {number}", context=context)
            await double(1)
            return
        next_context = contexts[depth + 1] if depth == 0 else contextvars.copy_context()
        loop.run_until_complete(loop.create_task(level(depth + 1), context=next_context))
        seen.append(f"level {depth}")

    async def main() -> None:
        await loop.create_task(level(0), context=contexts[0])
        await double(1)

    loop.run_until_complete(main())
    assert sorted(seen) == ["in context 0", "in context 1", "level 0", "level 1"]
    assert seen.index("level 0") < seen.index("in context 0")
    assert seen.index("level 1") < seen.index("in context 1")


def test_what_is_put_off_is_collected_with_its_loop(loop: ferrio.Loop) -> None:
    context = contextvars.copy_context()

    async def outer() -> None:
        loop.call_soon(print, context=context)
        loop.run_until_complete(double(1))
        loop.stop()
        raise SystemExit

    with pytest.raises(SystemExit):
        loop.run_until_complete(loop.create_task(outer(), context=context))
    loop.close()
