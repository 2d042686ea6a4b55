"""All classes of primitives: types, subclasses, representations, and the methods of the loop that they call."""

import asyncio
import asyncio as stdlib
import gc
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from ferrio._namespace import PRIMITIVES

from ..loops import ferrio_only, run
from .namespace import ours
from .waits import taken_lock


@ferrio_only
def test_each_class_is_asyncios_by_type() -> None:
    for primitive in PRIMITIVES:
        if isinstance(primitive.original, type):
            assert issubclass(primitive.ours, primitive.original)
    assert isinstance(ours.PriorityQueue(), ours.Queue)
    assert isinstance(ours.LifoQueue(), ours.Queue)
    assert isinstance(ours.BoundedSemaphore(), ours.Semaphore)
    assert ours.Queue[int].__origin__ is ours.Queue


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
