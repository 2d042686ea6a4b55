"""``Queue``, ``LifoQueue``, ``PriorityQueue``: asyncio's, with native state and native hot methods.

Each class combines ``_ferrio.QueueCore`` with asyncio's class. Its ``Function`` and ``CoroutineFunction`` attributes
run natively for instances of exactly that class. For instances of a subclass, which may store its items differently,
they run asyncio's code, which calls ``_init``, ``_put`` and ``_get``.
"""

from __future__ import annotations

import asyncio

from . import _ferrio
from ._copying import copied_by
from ._locks import Event

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import LifoQueue, PriorityQueue, Queue
else:

    @copied_by(*vars(asyncio.Queue()))
    class Queue(_ferrio.QueueCore, asyncio.Queue):
        """A first-in, first-out queue between tasks. Follows ``asyncio.Queue``."""

        def __init__(self, maxsize=0):
            super().__init__(maxsize)
            # In place of asyncio's event.
            self._finished = Event()
            self._finished.set()

        put = _ferrio.CoroutineFunction("Queue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("Queue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("Queue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("Queue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)

    class LifoQueue(Queue, asyncio.LifoQueue):
        """A queue that returns the newest item first. Follows ``asyncio.LifoQueue``."""

        __module__ = "ferrio.asyncio"

        put = _ferrio.CoroutineFunction("LifoQueue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("LifoQueue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("LifoQueue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("LifoQueue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)

    class PriorityQueue(Queue, asyncio.PriorityQueue):
        """A queue that returns the smallest item first. Follows ``asyncio.PriorityQueue``."""

        __module__ = "ferrio.asyncio"

        put = _ferrio.CoroutineFunction("PriorityQueue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("PriorityQueue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("PriorityQueue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("PriorityQueue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)
