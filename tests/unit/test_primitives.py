"""``sleep``, locks, events, semaphores and queues of ``ferrio.asyncio``, on the loop under test.

In the control run they are asyncio's own, on asyncio's loop.
"""

import asyncio
import asyncio as stdlib
import collections.abc
import contextlib
import functools
import gc
import inspect
import math
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
}
waits = pytest.mark.parametrize("make", WAITS.values(), ids=WAITS.keys())


def taken_lock() -> Any:
    lock = ours.Lock()
    lock._locked = True
    return lock


def full_queue() -> Any:
    queue = ours.Queue(1)
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
        for primitive in (ours.Event(), Event(), ours.Queue(), taken_lock(), ours.Semaphore(0)):
            wait = getattr(primitive, "wait", None) or getattr(primitive, "get", None) or primitive.acquire
            coroutine = wait()
            coroutine.send(None)
            primitive.myself = [primitive, coroutine]
            found.append(weakref.ref(primitive))
        return found

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None] * 5


def test_its_name_is_in_the_repr_of_a_task(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> str:
        task = stdlib.create_task(ours.Event().wait())
        await stdlib.sleep(0)
        text = repr(task)
        task.cancel()
        return text

    assert "coro=<Event.wait()" in run(loop, main())


# --- functions --------------------------------------------------------------------------------------------------------

FUNCTIONS = ["sleep", "Lock.acquire", "Lock.release", "Lock.__aenter__", "Event.wait", "Queue.put", "Queue.get_nowait"]


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


# --- classes ----------------------------------------------------------------------------------------------------------


@ferrio_only
def test_each_class_is_asyncios_by_type() -> None:
    for primitive in PRIMITIVES:
        if isinstance(primitive.original, type):
            assert isinstance(primitive.ours(), primitive.original)
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
