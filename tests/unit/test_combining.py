"""``gather`` and ``wait`` of ``ferrio.asyncio``, on the loop under test. In the control run they are asyncio's own."""

import asyncio
import asyncio as stdlib
import gc
import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ferrio import _ferrio

from .awaitables import cancelled, failed_task, failure, listed_by_a_task_factory, ours, value
from .loops import ferrio_only, new_loop, run

# --- gather -----------------------------------------------------------------------------------------------------------


def test_results_are_in_the_order_of_the_arguments(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        done = loop.create_future()
        done.set_result("done")
        return await ours.gather(value(1, 3), loop.create_task(value(2, 1)), future, done, value(3))

    assert run(loop, main()) == [1, 2, "future", "done", 3]


@pytest.mark.parametrize("slowest", range(3))
def test_the_result_is_there_when_asyncio_would_have_it(loop: asyncio.AbstractEventLoop, slowest: int) -> None:
    async def main() -> list[int]:
        turns: list[int] = []
        outer = ours.gather(*(value(None, turn) for turn in range(slowest + 1)))
        while not outer.done():
            turns.append(len(turns))
            await stdlib.sleep(0)
        return turns

    # One turn for each step, and one for the last callback.
    assert len(run(loop, main())) == slowest + 2


def test_the_last_ends_last_whoever_has_failed_before_it(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    async def noting(name: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        finally:
            loop.call_soon(seen.append, f"after {name}")

    async def main() -> None:
        children = noting("failure", failure("no")), noting("value", value(1))
        outer = ours.gather(*children, return_exceptions=True)
        outer.add_done_callback(lambda _: seen.append("gathered"))
        await outer

    run(loop, main())
    assert seen == ["after failure", "after value", "gathered"]


def test_exceptions_can_be_results(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        future = loop.create_future()
        future.cancel("told to")
        children = value(1), failure("no"), future, cancelled("itself"), failed_task(loop), value(2)
        return await ours.gather(*children, return_exceptions=True)

    first, error, cancellation, itself, outside, last = run(loop, main())
    assert (first, last) == (1, 2)
    assert repr(error) == "LookupError('no')"
    assert repr(cancellation) == "CancelledError('told to')"
    assert type(itself) is stdlib.CancelledError
    assert repr(outside) == "LookupError('from outside')"


def test_the_first_exception_comes_at_once_and_the_others_are_not_reported(
    loop: asyncio.AbstractEventLoop, told: list[str]
) -> None:
    async def main() -> Any:
        slow = loop.create_task(value("slow", 5))
        with pytest.raises(LookupError, match="first"):
            await ours.gather(slow, failure("first"), failure("second", 1), failure("third", 2))
        assert not slow.done()
        return await slow

    assert run(loop, main()) == "slow"
    gc.collect()
    assert told == []


@pytest.mark.parametrize("before", [True, False])
def test_a_task_that_asyncio_ends_counts(loop: asyncio.AbstractEventLoop, before: bool) -> None:
    async def main() -> Any:
        other = value(1) if before else stdlib.sleep(0.01, 1)
        return await ours.gather(failed_task(loop), other, return_exceptions=True)

    assert run(loop, main())[1] == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_cancelling_it_cancels_all(loop: asyncio.AbstractEventLoop, keeps: bool) -> None:
    async def main() -> Any:
        children = [loop.create_task(value(None, 100)) for _ in range(3)]
        outer = ours.gather(*children, value(None, 100), return_exceptions=keeps)
        assert type(outer).__name__ == "_GatheringFuture"
        assert list(outer._children[:3]) == children
        await stdlib.sleep(0)
        assert outer.cancel("enough")
        assert outer._cancel_requested
        with pytest.raises(stdlib.CancelledError, match="enough"):
            await outer
        # Where the first cancellation ends it, the others end in the same turn.
        await stdlib.sleep(0)
        assert not outer.cancel()
        return [child.cancelled() for child in children]

    assert run(loop, main()) == [True] * 3


def test_duplicates_are_one(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        task = loop.create_task(value(1))
        coroutine = value(2)
        return await ours.gather(task, coroutine, task, coroutine)

    assert run(loop, main()) == [1, 2, 1, 2]


def test_unusual_arguments_are_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    other = new_loop()

    class Awaitable:
        def __await__(self) -> Any:
            return value("awaitable").__await__()

    async def main() -> Any:
        assert await ours.gather() == []
        foreign = stdlib.Future(loop=loop)
        foreign.set_result("foreign")
        assert await ours.gather(Awaitable(), foreign, return_exceptions=1) == ["awaitable", "foreign"]
        with pytest.raises(ValueError, match="The future belongs to a different loop"):
            ours.gather(foreign, other.create_future())
        with pytest.raises(TypeError, match=r"An asyncio\.Future, a coroutine or an awaitable is required"):
            ours.gather(1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'loop'"):
            ours.gather(foreign, loop=loop)

    run(loop, main())
    other.close()


def test_a_task_factory_makes_the_children(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        made = listed_by_a_task_factory(loop)
        assert await ours.gather(value(1), value(2)) == [1, 2]
        assert len(made) == 2

    run(loop, main())


def test_a_replaced_create_task_makes_the_children(loop: asyncio.AbstractEventLoop) -> None:
    made: list[Any] = []
    original = loop.create_task

    def create_task(coroutine: Any, **kwargs: Any) -> Any:
        made.append(coroutine)
        return original(coroutine, **kwargs)

    async def main() -> Any:
        loop.create_task = create_task  # type: ignore[method-assign, assignment]
        return await ours.gather(value(1), value(2))

    assert run(loop, main()) == [1, 2]
    assert len(made) == 2


def test_in_debug_mode_children_know_where_they_come_from(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)

    async def main() -> Any:
        outer = ours.gather(value(1))
        assert "created at" in repr(outer)
        return await outer

    assert run(loop, main()) == [1]


def test_children_show_asyncios_callback(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> tuple[str, str]:
        task = loop.create_task(value(1, 3))
        outer = ours.gather(task)
        gathered = repr(task)
        await outer
        task = loop.create_task(value(1, 3))
        waiting = loop.create_task(ours.wait([task]))
        await stdlib.sleep(0)
        waited = repr(task)
        await waiting
        return gathered, waited

    gathered, waited = run(loop, main())
    where = stdlib.tasks.__file__
    assert f"cb=[gather.<locals>._done_callback() at {where}:" in gathered
    assert f"_wait.<locals>._on_completion() at {where}:" in waited


def test_a_child_that_never_ends_is_forgotten_without_a_word(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    class Result:
        pass

    async def wait(future: Any, kept: Any) -> Any:
        return await future, kept

    async def main() -> Any:
        result = Result()
        outer = ours.gather(wait(loop.create_future(), result), value(1))
        await stdlib.sleep(0)
        return weakref.ref(outer), weakref.ref(result)

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert told == []


def test_nothing_is_left_of_many_calls(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> int:
        marker = object()
        for _ in range(50):
            await ours.gather(value(marker), value(marker, 1), failure("no"), return_exceptions=True)
            await ours.wait([loop.create_task(value(marker)), loop.create_task(value(marker, 1))], timeout=60)
            await ours.wait([loop.create_task(value(marker, 2))], timeout=0)
            with pytest.raises(LookupError):
                await ours.gather(value(marker, 1), failure("no"))
        await value(None, 5)
        gc.collect()
        return sys.getrefcount(marker)

    assert run(loop, main()) <= 3


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
def test_the_call_graph_shows_who_gathers_and_waits(loop: asyncio.AbstractEventLoop) -> None:
    async def gathering(*tasks: Any) -> None:
        await ours.gather(*tasks)

    async def waiting(*tasks: Any) -> None:
        await ours.wait(tasks)

    def awaiting(task: Any) -> set[Any]:
        return set(task._asyncio_awaited_by or ())

    async def main() -> None:
        for function in (gathering, waiting):
            slow, fast = (loop.create_task(value(None, turns)) for turns in (9, 2))
            caller = loop.create_task(function(slow, fast))
            await value(None, 2)
            assert awaiting(slow) == awaiting(fast) == {caller}
            await value(None, 3)
            assert awaiting(fast) == set()
            assert awaiting(slow) == {caller}
            await caller
            assert awaiting(slow) == set()

    run(loop, main())


@ferrio_only
def test_the_callbacks_refuse_what_is_no_future_of_ferrios(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        task = loop.create_task(value(None, 2))
        outer = ours.gather(task)
        waiting = loop.create_task(ours.wait([task]))
        await stdlib.sleep(0)
        found = [callback for callback, _ in task._callbacks]  # type: ignore[attr-defined]
        assert {type(callback) for callback in found} == {_ferrio.GatherCallback, _ferrio.WaitCallback}
        for callback in found:
            for nonsense in (None, 1, stdlib.Future(loop=loop)):
                with pytest.raises(TypeError):
                    callback(nonsense)
        await outer
        await waiting

    run(loop, main())


# --- wait -------------------------------------------------------------------------------------------------------------


def test_wait_for_all(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> None:
        future = loop.create_future()
        future.set_result(1)
        tasks = [loop.create_task(each) for each in (value(1, 2), failure("no"), cancelled("told to"))]
        for given in (set, tuple, list, frozenset, iter):
            done, pending = await ours.wait(given([*tasks, future, tasks[0]]))  # type: ignore[operator]
            assert (done, pending) == ({*tasks, future}, set())
        await ours.wait([failed_task(loop), loop.create_task(stdlib.sleep(0.01))])

    run(loop, main())
    gc.collect()
    # What failed was not looked at.
    assert told == ["Task exception was never retrieved"] * 2


@pytest.mark.parametrize("condition", ["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"])
def test_wait_for_the_first(loop: asyncio.AbstractEventLoop, condition: str) -> None:
    async def main() -> tuple[set[str], set[str]]:
        tasks = [
            loop.create_task(value(None, 1), name="value"),
            loop.create_task(failure("no", 3), name="failure"),
            loop.create_task(value(None, 9), name="slow"),
        ]
        done, pending = await ours.wait(tasks, return_when=getattr(ours, condition))
        with pytest.raises(LookupError):
            await tasks[1]
        return {task.get_name() for task in done}, {task.get_name() for task in pending}

    done, pending = run(loop, main())
    expected = {"FIRST_COMPLETED": {"value"}, "FIRST_EXCEPTION": {"value", "failure"}}
    assert done == expected.get(condition, {"value", "failure", "slow"})
    assert done | pending == {"value", "failure", "slow"}


@pytest.mark.parametrize("timeout", [0, 0.001, -1])
def test_wait_ends_with_its_time(loop: asyncio.AbstractEventLoop, timeout: float) -> None:
    async def main() -> None:
        future = loop.create_future()
        done, pending = await ours.wait([future], timeout=timeout)
        assert (done, pending) == (set(), {future})
        assert not future._callbacks

    run(loop, main())


def test_a_cancelled_wait_leaves_no_callback_and_no_timer(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        futures = [loop.create_future() for _ in range(3)]
        task = loop.create_task(ours.wait(futures, timeout=60))
        await stdlib.sleep(0)
        assert all(future._callbacks for future in futures)
        task.cancel("enough")
        with pytest.raises(stdlib.CancelledError, match="enough"):
            await task
        assert not any(future._callbacks or future.cancelled() for future in futures)
        assert all(handle.cancelled() for handle in loop._scheduled if handle.when() > loop.time() + 30)  # type: ignore[attr-defined]

    run(loop, main())


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ours.wait([]), ValueError("Set of Tasks/Futures is empty.")),
        (lambda: ours.wait(()), ValueError("Set of Tasks/Futures is empty.")),
        (lambda: ours.wait([stdlib.current_task()], return_when=-1), ValueError("Invalid return_when value: -1")),
        (lambda: ours.wait(stdlib.current_task()), TypeError),
        (lambda: ours.wait([stdlib.current_task()], timeout="1"), TypeError),
        (lambda: ours.wait([1]), AttributeError),
    ],
)
def test_wait_complains_when_it_is_awaited(
    loop: asyncio.AbstractEventLoop, call: Callable[[], Any], expected: Any
) -> None:
    async def main() -> BaseException:
        with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
            await call()
        return caught.value

    error = run(loop, main())
    if isinstance(expected, type):
        assert type(error) is expected
    else:
        assert repr(error) == repr(expected)


def test_wait_refuses_coroutines(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        coroutine = value(1)
        with pytest.raises(TypeError, match="Passing coroutines is forbidden, use tasks explicitly"):
            await ours.wait([coroutine])
        coroutine.close()

    run(loop, main())


def test_wait_takes_asyncios_futures(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future: asyncio.Future[Any] = stdlib.Future(loop=loop)
        loop.call_soon(future.set_result, 1)
        task = loop.create_task(value(1))
        assert await ours.wait([future, task], timeout=60) == ({future, task}, set())

    run(loop, main())
