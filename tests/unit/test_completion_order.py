"""``as_completed`` of ``ferrio.asyncio``, on the loop under test. In the control run it is asyncio's own.

What can be seen of it turn by turn is compared with asyncio's own function, on the same loop.
"""

import asyncio
import asyncio as stdlib
import contextlib
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from ferrio import _ferrio

from .awaitables import cancelled, failed_task, failure, listed_by_a_task_factory, ours, value
from .loops import ferrio_only, new_loop, run

#: From 3.13 on it is an iterator of both kinds; before, it is a generator.
IS_BOTH = sys.version_info >= (3, 13)
both_kinds = pytest.mark.skipif(not IS_BOTH, reason="async for came with 3.13")
takes_generators = pytest.mark.skipif(sys.version_info < (3, 12), reason="to 3.11 a generator is a coroutine")


def test_results_are_in_the_order_of_the_ends(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        return [await each for each in ours.as_completed([value(turns, turns) for turns in (5, 1, 9, 3)])]

    assert run(loop, main()) == [1, 3, 5, 9]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter, dict.fromkeys])
def test_it_takes_whatever_can_be_iterated(loop: asyncio.AbstractEventLoop, kind: Callable[[Any], Any]) -> None:
    async def main() -> Any:
        future = loop.create_future()
        done = loop.create_future()
        done.set_result("done")
        task = loop.create_task(value("task", 3))
        task.add_done_callback(lambda _: future.set_result("future"))
        coroutine = value("coroutine", 2)
        given = kind([future, task, done, coroutine, task, coroutine])
        return [await each for each in ours.as_completed(given)]

    assert run(loop, main()) == ["done", "coroutine", "task", "future"]


@takes_generators
def test_it_takes_a_generator(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        return [await each for each in ours.as_completed(value(turns, turns) for turns in (2, 1))]

    assert run(loop, main()) == [1, 2]


def test_nothing_given_is_nothing_done(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        assert list(ours.as_completed([])) == []
        assert list(ours.as_completed([], timeout=0)) == []
        if IS_BOTH:
            assert [each async for each in ours.as_completed(())] == []

    run(loop, main())


@both_kinds
def test_an_asynchronous_iteration_gives_what_was_given(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        slow, fast = loop.create_task(value(1, 5)), loop.create_task(failure("no", 1))
        future = loop.create_future()
        slow.add_done_callback(lambda _: future.cancel())
        seen = [each async for each in ours.as_completed([slow, future, fast])]
        assert seen == [fast, slow, future]
        with pytest.raises(LookupError):
            await fast
        made = [each async for each in ours.as_completed([value(1)])]
        assert [type(each) for each in made] == [type(slow)]
        assert made[0].result() == 1

    run(loop, main())


@both_kinds
def test_both_kinds_share_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        iterator = ours.as_completed([value(turns, turns) for turns in range(4)])
        assert isinstance(iterator, Iterator)
        assert isinstance(iterator, AsyncIterator)
        assert iter(iterator) is iterator
        assert aiter(iterator) is iterator
        assert type(iterator).__name__ == "_AsCompletedIterator"
        assert await next(iterator) == 0
        assert (await anext(iterator)).result() == 1
        assert await next(iterator) == 2
        last = anext(iterator)
        # It takes one when it begins.
        other = next(iterator)
        with pytest.raises(StopAsyncIteration):
            await last
        assert next(iterator, "nothing") == "nothing"
        assert await anext(iterator, "nothing") == "nothing"
        assert await other == 3

    run(loop, main())


def test_exceptions_and_cancellations_come_through(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> list[str]:
        seen = []
        for each in ours.as_completed([failure("no", 4), cancelled("itself"), failed_task(loop), value(1, 8)]):
            try:
                seen.append(repr(await each))
            except (LookupError, stdlib.CancelledError) as error:
                seen.append(type(error).__name__)
        return seen

    assert sorted(run(loop, main())) == ["1", "CancelledError", "LookupError", "LookupError"]
    gc.collect()
    assert told == []


@pytest.mark.parametrize("asynchronous", [False, pytest.param(True, marks=both_kinds)])
def test_time_is_up_for_all_that_are_left(loop: asyncio.AbstractEventLoop, asynchronous: bool) -> None:
    async def main() -> None:
        future = loop.create_future()
        slow = loop.create_future()
        iterator = ours.as_completed([future, slow, value(1)], timeout=0.2)
        seen: list[Any] = []

        async def go_through() -> None:
            async for each in iterator:
                seen.append(each.result())

        if asynchronous:
            with pytest.raises(TimeoutError) as caught:
                await go_through()
            assert caught.value.args == ()
            assert seen == [1]
        else:
            for each in iterator:
                try:
                    seen.append(repr(await each))
                except TimeoutError as error:
                    seen.append(repr(error))
            assert seen == ["1", "TimeoutError()", "TimeoutError()"]
        assert not future._callbacks
        assert not slow._callbacks
        assert not future.done()

    run(loop, main())


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_time_that_is_up_at_once(loop: asyncio.AbstractEventLoop, timeout: float) -> None:
    async def main() -> None:
        for each in ours.as_completed([loop.create_future()], timeout=timeout):
            with pytest.raises(TimeoutError):
                await each

    run(loop, main())


def test_the_timer_ends_with_the_last(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for each in ours.as_completed([value(1), value(2, 2)], timeout=60):
            await each
        assert all(handle.cancelled() for handle in loop._scheduled if handle.when() > loop.time() + 30)  # type: ignore[attr-defined]

    run(loop, main())


@pytest.mark.parametrize("asynchronous", [False, pytest.param(True, marks=both_kinds)])
@pytest.mark.parametrize("waiters", [1, 3])
def test_turn_by_turn_it_is_as_in_asyncio(loop: asyncio.AbstractEventLoop, waiters: int, asynchronous: bool) -> None:
    async def main(function: Callable[..., Any]) -> list[str]:
        seen: list[str] = []
        futures = [loop.create_future() for _ in range(6)]
        iterator = function(futures)

        async def wait(name: str) -> None:
            while True:
                seen.append(f"{name} asks")
                try:
                    found = (await anext(iterator)).result() if asynchronous else await next(iterator)
                except (StopIteration, StopAsyncIteration, RuntimeError):
                    break
                seen.append(f"{name} has {found}")

        def note(future: asyncio.Future[Any]) -> None:
            seen.append(f"done {future.result()}")

        tasks = [loop.create_task(wait(str(number))) for number in range(waiters)]
        for each in futures:
            each.add_done_callback(note)
        await stdlib.sleep(0)
        for number, pause in ((3, 0), (1, 1), (5, 0), (0, 0), (2, 2), (4, 1)):
            futures[number].set_result(number)
            seen.append(f"set {number}")
            await value(None, pause)
        await stdlib.gather(*tasks)
        return seen

    assert run(loop, main(ours.as_completed)) == run(loop, main(stdlib.as_completed))


@pytest.mark.parametrize("asynchronous", [False, pytest.param(True, marks=both_kinds)])
@pytest.mark.parametrize("how", ["cancel", "close", "in the same turn", "never begun"])
def test_who_does_not_wait_to_the_end_leaves_what_asyncio_leaves(
    loop: asyncio.AbstractEventLoop, how: str, asynchronous: bool
) -> None:
    async def main(function: Callable[..., Any]) -> list[Any]:
        futures = [loop.create_future() for _ in range(3)]
        iterator = iter(function(futures)) if not asynchronous else function(futures)

        def ask() -> Any:
            return iterator.__anext__() if asynchronous else next(iterator)

        coroutine = ask()
        if how == "close":
            coroutine.send(None)
            coroutine.close()
        elif how == "never begun":
            coroutine.close()
        else:
            task = loop.create_task(coroutine)
            await stdlib.sleep(0)
            if how == "in the same turn":
                futures[0].set_result(0)
                await stdlib.sleep(0)
            task.cancel("enough")
            with pytest.raises(stdlib.CancelledError, match="enough"):
                await task
        for number, future in enumerate(futures):
            if not future.done():
                future.set_result(number)
        seen: list[Any] = []
        for _ in range(4):
            try:
                found = await ask()
            except (StopIteration, StopAsyncIteration) as error:
                seen.append(type(error).__name__)
            else:
                seen.append(found.result() if asynchronous else found)
        # In the order of a set.
        return [len(seen), sorted(map(str, seen))]

    first, second = run(loop, main(ours.as_completed)), run(loop, main(stdlib.as_completed))
    assert first[0] == second[0]
    # Which of them were there depends on the order of a set: only how many is told.
    assert [each.isdigit() for each in first[1]] == [each.isdigit() for each in second[1]]


def test_a_coroutine_that_nobody_awaits_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        name = "_AsCompletedIterator._wait_for_one" if IS_BOTH else "as_completed.<locals>._wait_for_one"
        coroutine = next(iter(ours.as_completed([value(1)])))
        assert coroutine.__qualname__ == name
        assert coroutine.__name__ == "_wait_for_one"
        with pytest.warns(RuntimeWarning, match=f"coroutine '{name}' was never awaited"):
            del coroutine
            gc.collect()

    run(loop, main())


@pytest.mark.parametrize(
    "call",
    [
        lambda loop, function: function(loop.create_future()),
        lambda loop, function: function(1),
        lambda loop, function: function([1]),
        lambda loop, function: function([[]]),
        lambda loop, function: function(),
        lambda loop, function: function([], 1),
        lambda loop, function: function([], loop=loop),
        lambda loop, function: function([loop.create_future()], timeout="1"),
    ],
)
def test_complaints_are_asyncios(loop: asyncio.AbstractEventLoop, call: Callable[[Any, Any], Any]) -> None:
    async def go_through(function: Any) -> None:
        for each in call(loop, function):
            await each

    async def main(function: Any) -> str:
        with pytest.raises(TypeError) as caught:
            await go_through(function)
        return str(caught.value)

    assert run(loop, main(ours.as_completed)) == run(loop, main(stdlib.as_completed))


def test_it_refuses_a_coroutine(loop: asyncio.AbstractEventLoop) -> None:
    async def main(function: Any) -> str:
        coroutine = value(1)
        with pytest.raises(TypeError) as caught:
            list(function(coroutine))
        coroutine.close()
        return str(caught.value)

    assert run(loop, main(ours.as_completed)) == run(loop, main(stdlib.as_completed))


def test_unusual_arguments_are_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    other = new_loop()

    class Awaitable:
        def __await__(self) -> Any:
            return value("awaitable").__await__()

    async def main() -> None:
        foreign: asyncio.Future[str] = stdlib.Future(loop=loop)
        loop.call_later(0.001, foreign.set_result, "foreign")
        given = [Awaitable(), foreign, value("coroutine", 1)]
        assert {await each for each in ours.as_completed(given, timeout=60)} == {"awaitable", "foreign", "coroutine"}
        with pytest.raises(ValueError, match="The future belongs to a different loop"):
            list(ours.as_completed([other.create_future()]))

    run(loop, main())
    other.close()


@takes_generators
def test_a_generator_of_unusual_awaitables_is_gone_through_once(loop: asyncio.AbstractEventLoop) -> None:
    class Awaitable:
        def __await__(self) -> Any:
            return value("awaitable").__await__()

    async def main() -> None:
        given = [Awaitable(), value("coroutine", 1)]
        assert {await each for each in ours.as_completed(each for each in given)} == {"awaitable", "coroutine"}

    run(loop, main())


def test_without_a_running_loop_it_is_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    def play(function: Callable[..., Any]) -> Any:
        future = loop.create_future()
        future.set_result(1)
        stdlib.set_event_loop(loop)
        try:
            coroutine = next(iter(function([future])))
        except RuntimeError as error:
            # From 3.14 on it asks for the task that runs.
            return str(error)
        finally:
            stdlib.set_event_loop(None)
        return loop.run_until_complete(coroutine)

    assert play(ours.as_completed) == play(stdlib.as_completed)


def test_a_task_factory_makes_the_tasks(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        made = listed_by_a_task_factory(loop)
        assert [await each for each in ours.as_completed([value(1, 1), value(2, 2)])] == [1, 2]
        assert len(made) == 2

    run(loop, main())


def test_in_debug_mode_the_tasks_know_where_they_come_from(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)

    async def main() -> Any:
        iterator = iter(ours.as_completed([value(1)]))
        coroutine = next(iterator)
        made = next(task for task in stdlib.all_tasks() if task.get_coro().__qualname__ == "value")  # type: ignore[union-attr]
        assert "created at" in repr(made)
        return await coroutine

    assert run(loop, main()) == 1


def test_futures_and_timers_show_asyncios_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    async def main(function: Any) -> tuple[str, str]:
        future = loop.create_future()
        iterator = iter(function([future], timeout=60))
        coroutine = next(iterator)
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        timer = max(timers, key=lambda handle: handle.when())
        shown = repr(future), repr(timer).partition(" ")[2].partition(" ")[2]
        future.set_result(1)
        await coroutine
        return shown

    future, timer = run(loop, main(ours.as_completed))
    assert (future, timer) == run(loop, main(stdlib.as_completed))
    assert ("_AsCompletedIterator._handle_completion()" if IS_BOTH else "_on_completion() at ") in future


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
@pytest.mark.parametrize("timeout", [None, 0.01])
def test_the_call_graph_shows_who_waits(loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
    def awaiting(future: Any) -> set[Any]:
        return set(future._asyncio_awaited_by or ())

    async def main() -> None:
        fast, slow = loop.create_future(), loop.create_future()

        async def wait() -> None:
            async for _ in ours.as_completed([fast, slow], timeout=timeout):
                pass

        waiting = loop.create_task(wait())
        await stdlib.sleep(0)
        assert awaiting(fast) == awaiting(slow) == {waiting}
        fast.set_result(1)
        await value(None, 2)
        assert awaiting(fast) == set()
        assert awaiting(slow) == {waiting}
        if timeout is None:
            slow.set_result(1)
            await waiting
        else:
            with pytest.raises(TimeoutError):
                await waiting
        assert awaiting(slow) == set()

    run(loop, main())


@both_kinds
@pytest.mark.parametrize("namespace", [ours, stdlib])
def test_a_callback_that_ends_another_while_time_runs_out_is_told_of(
    loop: asyncio.AbstractEventLoop, namespace: Any
) -> None:
    told: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    class Ends:
        """A callback whose comparison with another one calls that with *future*."""

        future: Any = None

        def __call__(self, _: Any) -> None: ...

        def __eq__(self, callback: object) -> bool:
            if self.future is not None:
                future, self.future = self.future, None
                callback(future)  # type: ignore[operator]
            return False

        __hash__ = None  # type: ignore[assignment]

    async def main() -> None:
        callbacks = {}
        for _ in range(3):
            future = loop.create_future()
            callbacks[future] = Ends()
            future.add_done_callback(callbacks[future])
        iterator = namespace.as_completed(list(callbacks), timeout=0.001)
        for future in callbacks:
            callbacks[future].future = next(other for other in callbacks if other is not future)
        next(iter(iterator)).close()
        await stdlib.sleep(0.01)

    run(loop, main())
    assert [repr(error) for error in told] == ["RuntimeError('Set changed size during iteration')"]


def test_what_nobody_waits_for_can_be_collected(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> Any:
        future = loop.create_future()
        next(iter(ours.as_completed([future]))).close()
        return weakref.ref(future)

    reference = run(loop, main())
    gc.collect()
    assert reference() is None
    assert told == []


def test_nothing_is_left_of_many_calls(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> int:
        marker = object()
        for _ in range(50):
            for each in ours.as_completed([value(marker), value(marker, 2)], timeout=60):
                await each
            for each in ours.as_completed([value(marker, 1), failure("no")]):
                with contextlib.suppress(LookupError):
                    await each
            if IS_BOTH:
                async for done in ours.as_completed([value(marker), value(marker, 1)]):
                    del done
            for each in ours.as_completed([value(marker, 2)], timeout=0):
                with pytest.raises(TimeoutError):
                    await each
            del each
        await value(None, 5)
        gc.collect()
        return sys.getrefcount(marker)

    assert run(loop, main()) <= 3


@ferrio_only
@both_kinds
def test_the_callback_refuses_what_is_no_future_of_ferrios(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        iterator = ours.as_completed([future])
        [(callback, _)] = future._callbacks
        assert type(callback) is _ferrio.CompletionCallback
        for nonsense in (None, 1, stdlib.Future(loop=loop)):
            with pytest.raises(TypeError):
                callback(nonsense)
        stranger = loop.create_future()
        with pytest.raises(KeyError) as caught:
            callback(stranger)
        assert caught.value.args == (stranger,)
        future.set_result(1)
        assert await next(iterator) == 1
        # All have ended: there is nothing more to note.
        callback(stranger)

    run(loop, main())
