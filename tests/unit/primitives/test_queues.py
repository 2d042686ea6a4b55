"""Queues of every order: their limits, items, joining and shutting down."""

import asyncio
import asyncio as stdlib
import collections
import contextlib
import copy
import math
import sys
from typing import Any

import pytest

from ..loops import run
from .namespace import ours


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
