"""``sleep``, locks, events, semaphores and queues of ``ferrio.asyncio``, on the loop under test.

In the control run they are asyncio's own, on asyncio's loop.
"""

import asyncio
import asyncio as stdlib
import collections
import collections.abc
import contextlib
import copy
import functools
import gc
import inspect
import math
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest import mock

import pytest

import ferrio.asyncio
from ferrio._namespace import PRIMITIVES

from .loops import NAME, ferrio_only, run

ours: Any = ferrio.asyncio if NAME == "ferrio" else stdlib

#: Calls of every native coroutine function that would have to wait.
WAITS: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
    "sleep(0)": lambda: ours.sleep(0),
    "sleep": lambda: ours.sleep(60),
    "Lock.acquire": lambda: taken_lock().acquire(),
    "Lock.__aenter__": lambda: taken_lock().__aenter__(),
    "Event.wait": lambda: ours.Event().wait(),
    "Semaphore.acquire": lambda: ours.Semaphore(0).acquire(),
    "Semaphore.__aenter__": lambda: ours.Semaphore(0).__aenter__(),
    "BoundedSemaphore.acquire": lambda: ours.BoundedSemaphore(0).acquire(),
    "Queue.get": lambda: ours.Queue().get(),
    "Queue.put": lambda: full_queue().put(1),
    "Queue.join": lambda: full_queue().join(),
    "LifoQueue.get": lambda: ours.LifoQueue().get(),
    "PriorityQueue.get": lambda: ours.PriorityQueue().get(),
    "PriorityQueue.put": lambda: full_queue(ours.PriorityQueue).put(1),
    "Condition.wait": lambda: entered_condition().wait(),
    "Condition.wait_for": lambda: entered_condition().wait_for(lambda: False),
    "Condition.__aenter__": lambda: entered_condition().__aenter__(),
    "Barrier.wait": lambda: ours.Barrier(2).wait(),
    "Barrier.__aenter__": lambda: ours.Barrier(2).__aenter__(),
}
waits = pytest.mark.parametrize("make", WAITS.values(), ids=WAITS.keys())


def taken_lock() -> Any:
    lock = ours.Lock()
    lock._locked = True
    return lock


def entered_condition() -> Any:
    return ours.Condition(taken_lock())


def full_queue(kind: Any = None) -> Any:
    queue = (kind or ours.Queue)(1)
    queue.put_nowait(0)
    return queue


@contextlib.contextmanager
def warned() -> Iterator[list[str]]:
    """What is warned of until everything has been collected."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
        gc.collect()
    told += [str(each.message) for each in caught]


# --- coroutines -------------------------------------------------------------------------------------------------------


@waits
def test_a_call_is_a_coroutine_by_every_test_but_its_type(make: Callable[[], Any]) -> None:
    coroutine = make()
    assert stdlib.iscoroutine(coroutine)
    assert inspect.isawaitable(coroutine)
    assert isinstance(coroutine, collections.abc.Coroutine)
    coroutine.close()


@waits
def test_one_that_is_never_awaited_warns(make: Callable[[], Any]) -> None:
    with warned() as told:
        make()
    assert len(told) == 1
    assert "was never awaited" in told[0]


@waits
def test_one_that_is_closed_before_it_began_does_not_warn(make: Callable[[], Any]) -> None:
    with warned() as told:
        make().close()
    assert told == []


@waits
def test_a_task_of_it_can_be_cancelled_while_it_waits(loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
    async def main() -> None:
        task = stdlib.create_task(make())
        await stdlib.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task

    run(loop, main())


@waits
def test_a_task_of_it_can_be_cancelled_before_it_began(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Any]
) -> None:
    async def main() -> None:
        task = stdlib.create_task(make())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warned() as told:
        run(loop, main())
    assert told == []


@waits
def test_an_exception_that_is_thrown_in_comes_out(loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
    async def main() -> None:
        coroutine = make()
        coroutine.send(None)
        error = KeyError("thrown")
        with pytest.raises(KeyError) as caught:
            coroutine.throw(error)
        assert caught.value is error
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coroutine.send(None)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coroutine.throw(error)
        coroutine.close()

    run(loop, main())


@waits
def test_throwing_before_the_first_step_ends_it(make: Callable[[], Any]) -> None:
    coroutine = make()
    with pytest.raises(ZeroDivisionError, match="early"):
        coroutine.throw(ZeroDivisionError("early"))
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coroutine.send(None)


@waits
def test_the_first_value_sent_must_be_none(make: Callable[[], Any]) -> None:
    coroutine = make()
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.send(1)
    coroutine.close()


@pytest.mark.filterwarnings("ignore:the .type, exc, tb. signature")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((KeyError,), "KeyError()"),
        ((KeyError, 1), "KeyError(1)"),
        ((KeyError, (1, 2)), "KeyError(1, 2)"),
        ((KeyError, KeyError("a")), "KeyError('a')"),
        ((KeyError("a"), None, None), "KeyError('a')"),
        ((1,), "TypeError('exceptions must be classes or instances deriving from BaseException, not int')"),
        ((KeyError(), 1), "TypeError('instance exception may not have a separate value')"),
    ],
)
def test_throw_takes_what_a_coroutines_throw_takes(given: tuple[Any, ...], expected: str) -> None:
    coroutine = ours.sleep(0)
    coroutine.send(None)
    with pytest.raises((KeyError, TypeError)) as caught:
        coroutine.throw(*given)
    assert repr(caught.value) == expected
    coroutine.close()


@waits
def test_closing_one_that_waits_leaves_no_waiter(loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
    async def main() -> None:
        coroutine = make()
        coroutine.send(None)
        coroutine.close()
        coroutine.close()

    run(loop, main())


def test_dropping_one_that_waits_leaves_no_waiter(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        event, queue, lock = ours.Event(), ours.Queue(), taken_lock()
        coroutines = [event.wait(), queue.get(), lock.acquire()]
        for number in range(3):
            coroutines[number].send(None)
        assert (len(event._waiters), len(queue._getters), len(lock._waiters)) == (1, 1, 1)
        del coroutines
        gc.collect()
        assert (len(event._waiters), len(queue._getters), len(lock._waiters)) == (0, 0, 0)

    run(loop, main())


@pytest.mark.parametrize("value", [None, 1, (), (1, 2), KeyError("a"), StopIteration(3)], ids=repr)
def test_any_value_can_be_a_result(loop: asyncio.AbstractEventLoop, value: object) -> None:
    async def main() -> None:
        assert await ours.sleep(0, value) is value
        queue = ours.Queue()
        await queue.put(value)
        assert await queue.get() is value
        assert await stdlib.create_task(ours.sleep(0, value)) is value
        assert await ours.sleep(0.000001, value) is value

    run(loop, main())


def test_send_ends_with_stop_iteration() -> None:
    coroutine = ours.sleep(0, "result")
    assert coroutine.send(None) is None
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == "result"


def test_one_cannot_be_stepped_while_it_is_running(loop: asyncio.AbstractEventLoop) -> None:
    class Loop:
        def create_future(self) -> Any:
            told.append(coroutine.cr_running)
            with pytest.raises(ValueError, match="coroutine already executing"):
                coroutine.send(None)
            return loop.create_future()

    async def main() -> None:
        with mock.patch.object(event, "_get_loop", Loop):
            coroutine.send(None)
        coroutine.close()

    told: list[bool] = []
    event = ours.Event()
    coroutine = event.wait()
    run(loop, main())
    assert told == [True]


def test_one_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    class Event(ours.Event):  # type: ignore[misc]
        pass

    async def main() -> list[weakref.ref[Any]]:
        found = []
        for primitive in (
            ours.Event(),
            Event(),
            ours.Queue(),
            ours.PriorityQueue(),
            taken_lock(),
            entered_condition(),
            ours.Barrier(2),
            ours.Semaphore(0),
        ):
            wait = getattr(primitive, "wait", None) or getattr(primitive, "get", None) or primitive.acquire
            coroutine = wait()
            coroutine.send(None)
            primitive.myself = [primitive, coroutine]
            found.append(weakref.ref(primitive))
        return found

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None] * 8


def test_its_name_is_in_the_repr_of_a_task(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> str:
        task = stdlib.create_task(ours.Event().wait())
        await stdlib.sleep(0)
        text = repr(task)
        task.cancel()
        return text

    assert "coro=<Event.wait()" in run(loop, main())


ENDS_WITH_WAITS = """
import gc, sys
import {module} as asyncio

async def main():
    condition, lock = asyncio.Condition(), asyncio.Lock()
    await condition.acquire()
    await lock.acquire()
    for make in (asyncio.Event().wait, asyncio.Queue().get, condition.wait, lock.acquire, lambda: asyncio.sleep(60)):
        coroutine = make()
        coroutine.send(None)
        cycle = [coroutine]
        cycle.append(cycle)

gc.disable()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


def test_an_interpreter_that_ends_closes_those_that_wait() -> None:
    program = ENDS_WITH_WAITS.format(module="ferrio.asyncio" if NAME == "ferrio" else "asyncio")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")


# --- functions --------------------------------------------------------------------------------------------------------

FUNCTIONS = [
    "sleep",
    "Lock.acquire",
    "Lock.release",
    "Lock.__aenter__",
    "Event.wait",
    "Condition.wait",
    "Condition.notify",
    "Barrier.wait",
    "Queue.put",
    "Queue.get_nowait",
    "Queue.join",
    "PriorityQueue.put",
    "LifoQueue.get_nowait",
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_looks_like_asyncios(name: str) -> None:
    mine, asyncios = (functools.reduce(getattr, name.split("."), each) for each in (ours, stdlib))
    assert inspect.signature(mine) == inspect.signature(asyncios)
    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(mine, attribute) == getattr(asyncios, attribute)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(asyncios)


@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_a_coroutine_function_to_asyncio_too(name: str) -> None:
    mine, asyncios = (functools.reduce(getattr, name.split("."), each) for each in (ours, stdlib))
    assert stdlib.iscoroutinefunction(mine) == stdlib.iscoroutinefunction(asyncios)


def test_a_bound_method_has_its_signature_without_the_object() -> None:
    assert str(inspect.signature(ours.Queue().put)) == "(item)"
    assert ours.Queue().put.__self__.__class__ is ours.Queue


def test_mocks_of_them_can_be_awaited(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        with mock.patch.object(ours, "sleep") as sleep:
            await ours.sleep(60)
            sleep.assert_awaited_once_with(60)
        lock = mock.create_autospec(ours.Lock, instance=True)
        await lock.acquire()
        queue = mock.MagicMock(spec=ours.Queue)
        await queue.get()
        queue.get_nowait()

    run(loop, main())


@pytest.mark.parametrize(
    "call",
    [
        lambda: ours.sleep(),
        lambda: ours.sleep(1, 2, 3),
        lambda: ours.sleep(1, result=2, other=3),
        lambda: ours.sleep(1, 2, result=3),
        lambda: ours.Lock().acquire(1),
        lambda: ours.Lock.acquire(),
        lambda: ours.Lock().release(1),
        lambda: ours.Lock(1),
        lambda: ours.Queue().put(),
        lambda: ours.Queue().get_nowait(1),
        lambda: ours.Event().wait(1),
        lambda: ours.Event().set(1),
        lambda: ours.Semaphore(1).release(1),
        lambda: ours.Condition().wait(1),
        lambda: ours.Condition().wait_for(),
        lambda: ours.Condition().notify(1, 2),
        lambda: ours.Condition().notify_all(1),
        lambda: ours.Condition(None, None),
        lambda: ours.Barrier(),
        lambda: ours.Barrier(1).wait(1),
        lambda: ours.Queue().task_done(1),
        lambda: ours.Queue().join(1),
        lambda: ours.LifoQueue().put(),
        lambda: ours.PriorityQueue().get_nowait(1),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        call()


def test_arguments_may_have_names(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        assert await ours.sleep(delay=0, result=1) == 1
        assert await ours.sleep(0, result=2) == 2
        queue = ours.Queue(maxsize=1)
        await queue.put(item=3)
        assert queue.get_nowait() == 3
        queue.put_nowait(item=4)
        assert await queue.get() == 4

    run(loop, main())


@ferrio_only
def test_a_function_of_another_object_is_refused() -> None:
    with pytest.raises((AttributeError, TypeError)):
        ours.Lock.release(object())
    with pytest.raises(KeyError):
        ferrio._ferrio.Function("nonsense", print)


# --- sleep ------------------------------------------------------------------------------------------------------------


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


def sleeping(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """The handles of pending sleeps; a cancelled handle does not show what it would have called."""
    handles: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]
    return [handle for handle in handles if "_set_result_unless_cancelled" in repr(handle)]


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
            await ours.sleep(number / 50)
            seen.append(number)

        tasks = [stdlib.create_task(sleep(number)) for number in (9, 3, 7, 1)]
        # All of them begin at about the same time.
        await stdlib.sleep(0)
        for number in (2, 8):
            loop.call_later(number / 50, seen.append, number)
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


# --- classes ----------------------------------------------------------------------------------------------------------


@ferrio_only
def test_each_class_is_asyncios_by_type() -> None:
    for primitive in PRIMITIVES:
        if isinstance(primitive.original, type):
            assert issubclass(primitive.ours, primitive.original)
    assert isinstance(ours.PriorityQueue(), ours.Queue)
    assert isinstance(ours.LifoQueue(), ours.Queue)
    assert isinstance(ours.BoundedSemaphore(), ours.Semaphore)
    assert ours.Queue[int].__origin__ is ours.Queue


def test_one_belongs_to_the_loop_that_first_waited(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    first, second = make_loop(), make_loop()
    for make in (taken_lock, ours.Event, lambda: ours.Semaphore(0), ours.Queue):
        primitive = make()
        wait = getattr(primitive, "wait", None) or getattr(primitive, "get", None) or primitive.acquire

        async def main(wait: Any = wait) -> None:
            task = stdlib.create_task(wait())
            await stdlib.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(first, main())
        with pytest.raises(RuntimeError, match="is bound to a different event loop"):
            run(second, main())


def test_a_subclass_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop) -> None:
    asked: list[str] = []

    class Lock(ours.Lock):  # type: ignore[misc]
        async def acquire(self) -> bool:
            asked.append("acquire")
            return bool(await super().acquire())

        def release(self) -> None:
            asked.append("release")
            super().release()

        def _wake_up_first(self) -> None:
            asked.append("wake")
            super()._wake_up_first()

    class Queue(ours.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            asked.append(f"init {maxsize}")
            self._queue = []

        def _put(self, item: Any) -> None:
            asked.append("put")
            self._queue.insert(0, item)

        def _get(self) -> Any:
            asked.append("get")
            return self._queue.pop()

    async def main() -> None:
        lock = Lock()
        async with lock:
            assert lock.locked()
        queue = Queue(2)
        await queue.put("a")
        await queue.put("b")
        assert queue.full()
        assert [await queue.get(), await queue.get()] == ["a", "b"]

    run(loop, main())
    assert asked == ["acquire", "release", "wake", "init 2", "put", "put", "get", "get"]


def test_asyncios_condition_works_over_the_lock(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[int]:
        condition = stdlib.Condition(ours.Lock())
        passed: list[int] = []

        async def wait(number: int) -> None:
            async with condition:
                await condition.wait()
                passed.append(number)

        tasks = [stdlib.create_task(wait(number)) for number in range(3)]
        await stdlib.sleep(0)
        async with condition:
            condition.notify_all()
        await stdlib.gather(*tasks)
        return passed

    assert run(loop, main()) == [0, 1, 2]


def test_a_semaphore_may_count_in_other_numbers(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for value in (math.inf, 2.0, 2**70, True):
            semaphore = ours.Semaphore(value)
            async with semaphore:
                assert not semaphore.locked() or value is True
                assert semaphore._value == value - 1
            semaphore.release()
            assert semaphore._value == value + 1

    run(loop, main())


def test_a_queue_may_have_any_limit(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for limit in (math.inf, 1.5, -1, 0, True):
            queue = ours.Queue(limit)
            await queue.put(1)
            assert queue.maxsize is limit
            assert queue.full() == (limit is True)
            assert await queue.get() == 1

    run(loop, main())


def test_a_queue_joins(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        queue = ours.Queue()
        for number in range(3):
            queue.put_nowait(number)
        joining = stdlib.create_task(queue.join())
        for _ in range(3):
            await queue.get()
            await stdlib.sleep(0)
            assert not joining.done()
            queue.task_done()
        await joining
        with pytest.raises(ValueError, match="task_done"):
            queue.task_done()

    run(loop, main())


def test_reprs_tell_what_asyncios_tell(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        lock, event, semaphore, queue = ours.Lock(), ours.Event(), ours.Semaphore(2), ours.Queue(2)
        assert repr(lock).endswith("[unlocked]>")
        assert repr(event).endswith("[unset]>")
        assert repr(semaphore).endswith("[unlocked, value:2]>")
        assert str(queue) == "<Queue maxsize=2>"
        await lock.acquire()
        tasks = [stdlib.create_task(wait()) for wait in (lock.acquire, event.wait, queue.get)]
        await stdlib.sleep(0)
        assert repr(lock).endswith("[locked, waiters:1]>")
        assert repr(event).endswith("[unset, waiters:1]>")
        assert str(queue) == "<Queue maxsize=2 _getters[1]>"
        for task in tasks:
            task.cancel()

    run(loop, main())


# --- conditions -------------------------------------------------------------------------------------------------------

hands_notifications_on = pytest.mark.skipif(
    not hasattr(asyncio.Condition, "_notify"), reason="this version's conditions lose notifications"
)


def test_a_condition_makes_a_lock_of_its_own_kind() -> None:
    condition = ours.Condition()
    assert type(condition._lock) is (ours.Lock if ours.Condition is not asyncio.Condition else asyncio.Lock)
    assert condition.acquire.__self__ is condition._lock
    assert not condition.locked()
    assert repr(condition).endswith("[unlocked]>")


@pytest.mark.parametrize("make_lock", [lambda: ours.Lock(), lambda: stdlib.Lock(), lambda: LockOfAnotherKind()])
def test_a_condition_works_over_any_lock(loop: asyncio.AbstractEventLoop, make_lock: Callable[[], Any]) -> None:
    async def main() -> list[Any]:
        condition = ours.Condition(make_lock())
        seen: list[Any] = []

        async def wait(number: int) -> None:
            async with condition:
                seen.append(await condition.wait())
                seen.append(number)

        async def wait_for() -> None:
            async with condition:
                seen.append(await condition.wait_for(lambda: len(seen) == 6 and "six"))

        tasks = [stdlib.create_task(wait(number)) for number in range(3)] + [stdlib.create_task(wait_for())]
        await stdlib.sleep(0)
        for count in (1, 0, 5):
            async with condition:
                condition.notify(count)
            await stdlib.sleep(0)
        for _ in range(3):
            async with condition:
                condition.notify_all()
            await stdlib.sleep(0)
        await stdlib.gather(*tasks)
        assert not condition.locked()
        assert not condition._waiters
        return seen

    assert run(loop, main()) == [True, 0, True, 1, True, 2, "six"]


class LockOfAnotherKind(asyncio.Lock):
    """A lock that asyncio's own code has to be asked about."""


def test_a_condition_must_be_entered(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()
        with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
            await condition.wait()
        for notify in (condition.notify, condition.notify_all, lambda: condition.notify(n=2)):
            with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
                notify()
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired.$"):
            condition.release()

    run(loop, main())


@hands_notifications_on
def test_cancelled_between_notification_and_lock_it_tells_the_next(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()

        async def wait() -> bool:
            async with condition:
                return bool(await condition.wait())

        first, second = stdlib.create_task(wait()), stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify()
            await stdlib.sleep(0)
            # The first waits for the lock now.
            first.cancel("early")
            await stdlib.sleep(0)
            first.cancel("late")
            await stdlib.sleep(0)
            assert not first.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await first
        assert caught.value.args == ("late",)
        assert await second
        assert not condition.locked()

    run(loop, main())


@hands_notifications_on
def test_the_latest_of_several_cancellations_comes_out(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()

        async def wait() -> None:
            async with condition:
                await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            for message in ("first", "second", "third"):
                task.cancel(message)
                await stdlib.sleep(0)
                assert not task.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        chain = [caught.value.args]
        error = caught.value.__context__
        while error is not None:
            chain.append(error.args)
            error = error.__context__
        assert chain[0] == ("third",)
        assert ("first",) in chain
        assert ("second",) not in chain

    run(loop, main())


def test_a_condition_asks_what_a_program_put_into_it(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[str]:
        condition = ours.Condition()
        asked: list[str] = []
        release, acquire = condition.release, condition.acquire

        def other_release() -> None:
            asked.append("release")
            release()

        async def other_acquire() -> Any:
            asked.append("acquire")
            return await acquire()

        condition.release, condition.acquire = other_release, other_acquire

        async def wait() -> None:
            async with condition:
                await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify()
        await task
        return asked

    # Entered, released to wait; entered, left; taken again, left.
    assert run(loop, main()) == ["acquire", "release", "acquire", "release", "acquire", "release"]


@hands_notifications_on
def test_a_condition_whose_lock_is_replaced_during_a_wait_takes_the_other(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition, other = ours.Condition(), ours.Lock()

        async def wait() -> None:
            await condition.acquire()
            await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        condition.acquire, condition.release, condition.locked = other.acquire, other.release, other.locked
        async with condition:
            condition.notify()
        await task
        assert other.locked()

    run(loop, main())


def test_a_subclass_of_a_condition_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop) -> None:
    class Condition(ours.Condition):  # type: ignore[misc]
        async def wait(self) -> bool:
            asked.append("wait")
            return bool(await super().wait())

        def notify(self, n: int = 1) -> None:
            asked.append(f"notify {n}")
            super().notify(n)

    asked: list[str] = []

    async def main() -> None:
        condition = Condition()

        async def wait() -> None:
            async with condition:
                await condition.wait_for(lambda: len(asked) > 1)

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify_all()
        await task

    run(loop, main())
    assert asked == ["wait", "notify 1"]


# --- barriers ---------------------------------------------------------------------------------------------------------


def test_a_barrier_opens_for_all_at_once(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        barrier = ours.Barrier(3)
        tasks = [stdlib.create_task(barrier.wait()) for _ in range(2)]
        await stdlib.sleep(0)
        assert (barrier.n_waiting, barrier.parties, barrier.broken) == (2, 3, False)
        assert repr(barrier).endswith("[filling, waiters:2/3]>")
        for _ in range(3):
            async with barrier as place:
                assert place == 2
            assert await stdlib.gather(*tasks) == [0, 1]
            assert barrier.n_waiting == 0
            tasks = [stdlib.create_task(barrier.wait()) for _ in range(2)]
            await stdlib.sleep(0)
        for task in tasks:
            task.cancel()

    run(loop, main())


def test_a_barrier_is_reset_and_aborted(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        barrier = ours.Barrier(2)
        task = stdlib.create_task(barrier.wait())
        await stdlib.sleep(0)
        await barrier.reset()
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
            await task
        task = stdlib.create_task(barrier.wait())
        await stdlib.sleep(0)
        await barrier.abort()
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
            await task
        assert barrier.broken
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Barrier aborted$"):
            await barrier.wait()
        assert not barrier._cond.locked()

    run(loop, main())


@pytest.mark.parametrize("parties", [2, 2.0])
def test_a_barrier_may_count_in_other_numbers(loop: asyncio.AbstractEventLoop, parties: float) -> None:
    async def main() -> list[int]:
        barrier = ours.Barrier(parties)
        return await stdlib.gather(barrier.wait(), barrier.wait())

    assert sorted(run(loop, main())) == [0, 1]


def test_a_barrier_takes_another_condition(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[int]:
        barrier = ours.Barrier(2)
        barrier._cond = stdlib.Condition()
        return await stdlib.gather(barrier.wait(), barrier.wait())

    assert sorted(run(loop, main())) == [0, 1]


def test_a_barrier_needs_somebody() -> None:
    with pytest.raises(ValueError, match="parties must be"):
        ours.Barrier(0)


# --- queues of other orders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"), [("Queue", [3, 1, 2]), ("LifoQueue", [2, 1, 3]), ("PriorityQueue", [1, 2, 3])]
)
def test_each_queue_has_its_order(loop: asyncio.AbstractEventLoop, kind: str, expected: list[int]) -> None:
    async def main() -> None:
        queue = getattr(ours, kind)(3)
        for number in (3, 1, 2):
            await queue.put(number)
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(4)
        putting = stdlib.create_task(queue.put(4))
        await stdlib.sleep(0)
        assert [queue.get_nowait() for _ in range(3)] == expected
        await putting
        assert await queue.get() == 4
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()
        getting = stdlib.create_task(queue.get())
        await stdlib.sleep(0)
        queue.put_nowait(5)
        assert await getting == 5

    run(loop, main())


def test_items_that_cannot_be_compared_are_refused_as_by_asyncio(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        queue = ours.PriorityQueue()
        await queue.put(1)
        for put in (lambda: queue.put_nowait("a"), lambda: queue.put("a").send(None)):
            with pytest.raises(TypeError, match="not supported between instances"):
                put()
        assert queue._unfinished_tasks == 1
        assert queue.qsize() == 3

    run(loop, main())


def test_comparing_may_come_back_to_the_queue(loop: asyncio.AbstractEventLoop) -> None:
    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

        def __lt__(self, other: "Item") -> bool:
            compared.append(queue.qsize())
            if again:
                queue.put_nowait(again.pop())
            return self.number < other.number

    compared: list[int] = []
    again: list[Item] = []
    queue = ours.PriorityQueue()
    queue.put_nowait(Item(2))
    again.append(Item(0))
    with contextlib.suppress(RuntimeError):
        queue.put_nowait(Item(1))
    assert compared
    assert queue.qsize() == 3


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
@pytest.mark.parametrize("items", [collections.UserList([1, 2]), (1, 2), [2, 1]], ids=repr)
def test_items_replaced_between_call_and_step_are_asked_or_refused(
    loop: asyncio.AbstractEventLoop, kind: str, items: Any
) -> None:
    outcomes = []
    for namespace in (ours, stdlib):

        async def main(namespace: Any = namespace) -> list[Any]:
            found: list[Any] = []
            for method, arguments in (("get", ()), ("put", (3,))):
                queue = getattr(namespace, kind)(5)
                queue.put_nowait(0)
                coroutine = getattr(queue, method)(*arguments)
                queue._queue = copy.copy(items)
                try:
                    found.append(await coroutine)
                except (TypeError, AttributeError) as error:
                    found.append(type(error))
            return found

        outcomes.append(run(loop, main()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_each_queue_joins(loop: asyncio.AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        queue = getattr(ours, kind)()
        await queue.join()
        for _ in range(2):
            for number in range(2):
                queue.put_nowait(number)
            joining = stdlib.create_task(queue.join())
            for _ in range(2):
                await stdlib.sleep(0)
                assert not joining.done()
                queue.get_nowait()
                queue.task_done()
            await joining
        with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
            queue.task_done()
        queue.put_nowait(1)
        joining = stdlib.create_task(queue.join())
        await stdlib.sleep(0)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert not queue._finished._waiters

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queues shut down since 3.13")
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_each_queue_shuts_down(loop: asyncio.AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        queue = getattr(ours, kind)(1)
        getting = stdlib.create_task(queue.get())
        await stdlib.sleep(0)
        queue.shutdown()
        with pytest.raises(asyncio.QueueShutDown):  # type: ignore[attr-defined]
            await getting
        queue = getattr(ours, kind)(1)
        queue.put_nowait(1)
        putting = stdlib.create_task(queue.put(2))
        await stdlib.sleep(0)
        queue.shutdown()
        with pytest.raises(asyncio.QueueShutDown):  # type: ignore[attr-defined]
            await putting
        assert await queue.get() == 1
        for call in (queue.get_nowait, lambda: queue.put_nowait(1)):
            with pytest.raises(asyncio.QueueShutDown):  # type: ignore[attr-defined]
                call()
        joining = stdlib.create_task(queue.join())
        await stdlib.sleep(0)
        queue.task_done()
        await joining
        queue = getattr(ours, kind)()
        for number in range(3):
            queue.put_nowait(number)
        queue.shutdown(immediate=True)
        await queue.join()
        assert queue.empty()

    run(loop, main())


# --- what a loop's methods are asked --------------------------------------------------------------------------------


def test_a_loop_whose_futures_a_program_makes_is_asked_for_them(loop: asyncio.AbstractEventLoop) -> None:
    class Future(asyncio.Future):  # type: ignore[type-arg]
        pass

    async def main() -> None:
        with mock.patch.object(loop, "create_future", side_effect=lambda: Future(loop=loop)) as create_future:
            event, queue = ours.Event(), ours.Queue()
            tasks = [stdlib.create_task(each) for each in (event.wait(), queue.get(), ours.sleep(0.001))]
            await stdlib.sleep(0)
            assert create_future.call_count == 3
            assert {type(waiter) for waiter in (*event._waiters, *queue._getters)} == {Future}
            event.set()
            queue.put_nowait(1)
        assert await stdlib.gather(*tasks) == [True, 1, None]

    run(loop, main())


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


def test_waiting_keeps_no_references(loop: asyncio.AbstractEventLoop) -> None:
    item = object()

    async def main() -> None:
        queues = [ours.Queue(1), ours.LifoQueue(1)]
        condition, barrier, event = ours.Condition(), ours.Barrier(2), ours.Event()

        async def take_part(mine: int) -> None:
            for queue in queues:
                await (queue.get() if mine else queue.put(item))
            async with condition:
                if mine:
                    await condition.wait_for(lambda: event.is_set())
                else:
                    event.set()
                    condition.notify_all()
            await barrier.wait()
            event.clear()
            await ours.sleep(0.00001, item)

        async def round_trip() -> None:
            await stdlib.gather(take_part(0), take_part(1))

        await round_trip()
        before = sys.getrefcount(item), sys.getrefcount(condition), sys.getrefcount(queues[0]), sys.getrefcount(barrier)
        for _ in range(50):
            await round_trip()
        gc.collect()
        after = sys.getrefcount(item), sys.getrefcount(condition), sys.getrefcount(queues[0]), sys.getrefcount(barrier)
        assert after == before

    run(loop, main())


@ferrio_only
def test_a_method_that_another_class_borrows_runs_natively_where_it_was_first(
    loop: asyncio.AbstractEventLoop,
) -> None:
    class Borrower(stdlib.Lock):
        acquire = ours.Lock.__dict__["acquire"]

    async def main() -> None:
        borrower = Borrower()
        waiting = borrower.acquire()
        assert inspect.iscoroutine(waiting)  # asyncio's, for whose state it is
        assert await waiting
        assert borrower.locked()
        lent = ours.Lock().acquire()
        assert not inspect.iscoroutine(lent)
        assert await lent

    run(loop, main())
