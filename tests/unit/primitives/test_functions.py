"""The primitives' functions: names, signatures, arguments, mocks, and the objects that they accept."""

import asyncio
import asyncio as stdlib
import functools
import inspect
import sys
from collections.abc import Callable
from unittest import mock

import pytest

import ferrio

from ..loops import ferrio_only, run
from .namespace import ours

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
