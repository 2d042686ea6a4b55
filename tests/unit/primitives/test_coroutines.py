"""The coroutines of the primitives' methods: stepped, thrown into, closed, dropped, collected."""

import asyncio
import asyncio as stdlib
import collections.abc
import contextlib
import gc
import inspect
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from ..loops import NAME, run
from .namespace import ours
from .waits import entered_condition, taken_lock, waits


@contextlib.contextmanager
def warned() -> Iterator[list[str]]:
    """Record the warnings until everything has been collected."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
        gc.collect()
    told += [str(each.message) for each in caught]


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
