"""`ferrio.Future`: an asyncio future whose making, completing and waiting are native."""

import asyncio
import copy
import gc
import pickle
import sys
import weakref
from types import GenericAlias
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only, run, turn
from .memory import grown


@ferrio_only
def test_a_loop_makes_futures_that_are_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    future = loop.create_future()
    assert type(future) is ferrio.Future
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert future.get_loop() is loop
    assert ferrio.Future.__basicsize__ == asyncio.Future.__basicsize__
    future.cancel()


@ferrio_only
def test_the_type_is_generic_and_can_be_derived_from(loop: asyncio.AbstractEventLoop) -> None:
    assert isinstance(ferrio.Future[int], GenericAlias)

    class Own(ferrio.Future[int]):
        finished = 0

        def set_result(self, result: int, /) -> None:
            self.finished += 1
            super().set_result(result)

    async def main() -> int:
        future = Own(loop=loop)
        future.note = "an attribute"  # type: ignore[attr-defined]
        loop.call_soon(future.set_result, 7)
        assert await future == 7
        return future.finished

    assert run(loop, main()) == 1


def test_a_future_has_the_states_words_and_errors_of_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    pending, done, failed, cancelled = (loop.create_future() for _ in range(4))
    done.set_result([1])
    failed.set_exception(ValueError("no"))
    assert cancelled.cancel("why")
    assert not cancelled.cancel()
    assert [repr(each) for each in (pending, done, failed, cancelled)] == [
        "<Future pending>",
        "<Future finished result=[1]>",
        "<Future finished exception=ValueError('no')>",
        "<Future cancelled>",
    ]
    assert [each._state for each in (pending, done, failed, cancelled)] == [  # type: ignore[attr-defined]
        "PENDING",
        "FINISHED",
        "FINISHED",
        "CANCELLED",
    ]
    with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not set.$"):
        pending.result()
    with pytest.raises(asyncio.InvalidStateError, match=r"^invalid state$"):
        done.set_result(2)
    with pytest.raises(asyncio.InvalidStateError, match=r"^invalid state$"):
        cancelled.set_exception(ValueError)
    with pytest.raises(asyncio.CancelledError, match=r"^why$"):
        cancelled.result()
    assert isinstance(failed.exception(), ValueError)
    pending.cancel()


def test_cancel_takes_its_message_by_name_or_place_and_nothing_else(loop: asyncio.AbstractEventLoop) -> None:
    by_name, by_place = loop.create_future(), loop.create_future()
    by_name.cancel(msg=1)
    by_place.cancel(2)
    assert (by_name._cancel_message, by_place._cancel_message) == (1, 2)
    refused = loop.create_future()
    cancel: Any = refused.cancel
    for args, keywords in (((1, 2), {}), ((1,), {"msg": 2}), ((), {"message": 1})):
        with pytest.raises(TypeError):
            cancel(*args, **keywords)
    assert not refused.done()
    refused.cancel()


def test_a_future_that_was_not_initialized_raises_and_does_not_crash(loop: asyncio.AbstractEventLoop) -> None:
    kind = type(loop.create_future())
    future: Any = kind.__new__(kind)
    for method, args in (("set_result", (1,)), ("set_exception", (ValueError(),)), ("cancel", ())):
        with pytest.raises(RuntimeError, match="not initialized"):
            getattr(future, method)(*args)
    with pytest.raises(RuntimeError, match="not initialized"):
        _ = future._callbacks
    with pytest.raises(RuntimeError, match="not initialized"):
        future.__await__()


def test_callbacks_run_in_the_order_in_which_they_were_added(loop: asyncio.AbstractEventLoop) -> None:
    order: list[object] = []

    async def main() -> None:
        future = loop.create_future()

        async def wait(name: str) -> None:
            await future
            order.append(name)

        first = asyncio.create_task(wait("first task"))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _: order.append("callback"))
        second = asyncio.create_task(wait("second task"))
        await asyncio.sleep(0)
        assert len(future._callbacks) == 3  # type: ignore[attr-defined]
        assert all(callable(callback) for callback, _ in future._callbacks)  # type: ignore[attr-defined]
        future.set_result(None)
        assert len(loop._ready) == 3  # type: ignore[attr-defined]
        await asyncio.gather(first, second)

    run(loop, main())
    assert order == ["first task", "callback", "second task"]


def test_a_waiting_task_is_shown_as_the_callback_that_it_stands_for(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()

        async def wait() -> None:
            await future

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        ((callback, context),) = future._callbacks  # type: ignore[attr-defined]
        assert callback.__self__ is task
        assert context is task.get_context() if sys.version_info >= (3, 12) else context is not None
        assert "task_wakeup" in repr(future) or "TaskWakeup" in repr(future)
        assert task._fut_waiter is future  # type: ignore[attr-defined]
        future.set_result(None)
        await task

    run(loop, main())


@ferrio_only
def test_a_future_completed_by_asyncios_own_methods_wakes_the_task_that_waits(loop: asyncio.AbstractEventLoop) -> None:
    base: Any = asyncio.Future

    async def wait(future: asyncio.Future[Any]) -> Any:
        try:
            return await future
        except (ValueError, asyncio.CancelledError) as error:
            return error

    async def main() -> None:
        futures = [loop.create_future() for _ in range(3)]
        tasks = [asyncio.create_task(wait(future)) for future in futures]
        await asyncio.sleep(0)
        base.set_result(futures[0], 1)
        base.set_exception(futures[1], ValueError("two"))
        base.cancel(futures[2], "three")
        results = [await task for task in tasks]
        assert results[0] == 1
        assert [(type(error), error.args) for error in results[1:]] == [
            (ValueError, ("two",)),
            (asyncio.CancelledError, ("three",)),
        ]

    run(loop, main())


@pytest.mark.parametrize("method", [copy.copy, pickle.dumps])
def test_a_future_refuses_to_be_pickled_and_copied(loop: asyncio.AbstractEventLoop, method: Any) -> None:
    future = loop.create_future()
    with pytest.raises(TypeError):
        method(future)
    future.cancel()


def test_an_exception_that_nobody_asked_for_is_reported(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    def leave_one() -> None:
        future = loop.create_future()
        future.set_exception(ValueError("lost"))

    leave_one()
    assert [context["message"] for context in contexts] == ["Future exception was never retrieved"]
    assert sorted(contexts[0]) == ["exception", "future", "message"]
    contexts.clear()
    # Its memory may be the next one's: that one reports as well, and a third has nothing to report.
    leave_one()
    loop.create_future().set_result(None)
    assert len(contexts) == 1
    contexts.clear()


def test_a_freed_future_leaves_nothing_to_the_next(loop: asyncio.AbstractEventLoop) -> None:
    for number in range(50):
        future: Any = loop.create_future()
        assert (future._state, future._result, future._exception, future._callbacks) == ("PENDING", None, None, None)
        assert not future._log_traceback
        assert not future._asyncio_future_blocking
        assert future._cancel_message is None
        assert not hasattr(future, "note")
        future.note = number
        reference = weakref.ref(future)
        future.add_done_callback(print)
        future.remove_done_callback(print)
        if number % 3 == 0:
            future.set_result(number)
        elif number % 3 == 1:
            future.set_exception(ValueError(number))
            future.exception()
        else:
            future.cancel(number)
        del future
        assert reference() is None


def test_futures_leak_nothing(loop: asyncio.AbstractEventLoop) -> None:
    def complete() -> None:
        future = loop.create_future()
        future.add_done_callback(lambda _: None)
        future.set_result(object())
        turn(loop)

    def cancel() -> None:
        loop.create_future().cancel(object())

    def fail() -> None:
        future = loop.create_future()
        future.set_exception(ValueError())
        future.exception()

    for action in (complete, cancel, fail):
        assert grown(action) < 100


def test_a_cycle_through_a_future_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    class Marked:
        pass

    marked = Marked()
    reference = weakref.ref(marked)
    future: Any = loop.create_future()
    future.add_done_callback(lambda _, future=future, marked=marked: None)
    future.itself = future
    del future, marked
    gc.collect()
    assert reference() is None


@ferrio_only
def test_a_future_belongs_to_any_loop_that_is_not_ferrios_as_well() -> None:
    loop = asyncio.SelectorEventLoop()

    async def wait(future: asyncio.Future[int]) -> int:
        return await future + await asyncio.sleep(0, 1)

    try:
        future: ferrio.Future[int] = ferrio.Future(loop=loop)
        task = ferrio.Task(wait(future), loop=loop)
        loop.call_later(0.001, future.set_result, 41)
        assert loop.run_until_complete(task) == 42
    finally:
        loop.close()


@ferrio_only
def test_native_tasks_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kinds() -> tuple[type, type]:
        task = asyncio.current_task()
        return type(task), type(asyncio.get_running_loop().create_future())

    def kinds_of(loop: ferrio.Loop) -> tuple[type, type]:
        try:
            return loop.run_until_complete(kinds())
        finally:
            loop.close()

    assert kinds_of(ferrio.new_event_loop()) == (ferrio.Task, ferrio.Future)
    assert kinds_of(ferrio.new_event_loop(native_tasks=False)) == (asyncio.Task, asyncio.Future)
    monkeypatch.setenv("FERRIO_NATIVE_TASKS", "0")
    assert kinds_of(ferrio.new_event_loop()) == (asyncio.Task, asyncio.Future)
    assert kinds_of(ferrio.new_event_loop(native_tasks=True)) == (ferrio.Task, ferrio.Future)
    assert kinds_of(ferrio.Loop(native_tasks=False)) == (asyncio.Task, asyncio.Future)
