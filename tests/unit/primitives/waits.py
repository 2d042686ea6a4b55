"""Calls of the primitives that have to wait, and primitives in the states that make them."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from .namespace import ours

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
