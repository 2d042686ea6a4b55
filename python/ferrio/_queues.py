"""``Queue``, ``LifoQueue``, ``PriorityQueue``: asyncio's, with native state and native hot methods.

Each joins ``_ferrio.QueueCore`` with asyncio's class. The methods made from asyncio's own are native for instances of
exactly the class in whose body they stand. Subclasses keep their items as they like and run asyncio's own code, which
asks ``_init``, ``_put`` and ``_get``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import _ferrio
from ._copying import copied_as, reduce
from ._locks import Event

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

if TYPE_CHECKING:
    from asyncio import LifoQueue, PriorityQueue, Queue
else:

    class Queue(_ferrio.QueueCore, asyncio.Queue):
        """A queue between tasks, first in, first out. Follows ``asyncio.Queue``."""

        __module__ = "ferrio.asyncio"
        __reduce_ex__ = reduce
        __getstate__, __setstate__ = copied_as(asyncio.Queue())

        def __init__(self, maxsize=0):
            super().__init__(maxsize)
            # asyncio has made one of its own.
            self._finished = Event()
            self._finished.set()

        put = _ferrio.CoroutineFunction("Queue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("Queue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("Queue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("Queue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)

    class LifoQueue(Queue, asyncio.LifoQueue):
        """A queue that gives the newest item first. Follows ``asyncio.LifoQueue``."""

        __module__ = "ferrio.asyncio"

        put = _ferrio.CoroutineFunction("LifoQueue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("LifoQueue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("LifoQueue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("LifoQueue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)

    class PriorityQueue(Queue, asyncio.PriorityQueue):
        """A queue that gives the smallest item first. Follows ``asyncio.PriorityQueue``."""

        __module__ = "ferrio.asyncio"

        put = _ferrio.CoroutineFunction("PriorityQueue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("PriorityQueue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("PriorityQueue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("PriorityQueue.get_nowait", asyncio.Queue.get_nowait)
        task_done = _ferrio.Function("Queue.task_done", asyncio.Queue.task_done)
        join = _ferrio.CoroutineFunction("Queue.join", asyncio.Queue.join)
