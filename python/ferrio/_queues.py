"""``Queue``, ``LifoQueue``, ``PriorityQueue``: asyncio's, the first with native state and native hot methods.

``Queue`` joins ``_ferrio.QueueCore`` with asyncio's class. Its subclasses, the other two among them, keep their items
as they like and run asyncio's own code, which asks ``_init``, ``_put`` and ``_get``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import _ferrio

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

if TYPE_CHECKING:
    from asyncio import LifoQueue, PriorityQueue, Queue
else:

    class Queue(_ferrio.QueueCore, asyncio.Queue):
        """A queue between tasks, first in, first out. Follows ``asyncio.Queue``."""

        __module__ = "ferrio.asyncio"

        put = _ferrio.CoroutineFunction("Queue.put", asyncio.Queue.put)
        get = _ferrio.CoroutineFunction("Queue.get", asyncio.Queue.get)
        put_nowait = _ferrio.Function("Queue.put_nowait", asyncio.Queue.put_nowait)
        get_nowait = _ferrio.Function("Queue.get_nowait", asyncio.Queue.get_nowait)

    class LifoQueue(Queue, asyncio.LifoQueue):
        """A queue that gives the newest item first. Follows ``asyncio.LifoQueue``."""

        __module__ = "ferrio.asyncio"

    class PriorityQueue(Queue, asyncio.PriorityQueue):
        """A queue that gives the smallest item first. Follows ``asyncio.PriorityQueue``."""

        __module__ = "ferrio.asyncio"
