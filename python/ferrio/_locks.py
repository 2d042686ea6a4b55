"""``Lock``, ``Event``, ``Condition``, ``Semaphore``, ``Barrier``: asyncio's, with native state and native hot methods.

Each class combines a core from ``_ferrio``, which holds the state under asyncio's private names, with asyncio's class.
Its ``Function`` and ``CoroutineFunction`` attributes run natively for instances of exactly that class. For instances of
a subclass they run asyncio's code, which calls the methods that the subclass overrides.
"""

from __future__ import annotations

import asyncio

from . import _ferrio
from ._copying import copied_by

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore"]

# Until CPython 3.12.3 a semaphore wakes its waiters differently; there, the class is asyncio's own.
_SEMAPHORES_ARE_NATIVE = asyncio.Semaphore(0)._wake_up_next() is False  # type: ignore[func-returns-value]
# In older releases a condition loses the notification of a task that is cancelled; there, the class is asyncio's own.
_CONDITIONS_ARE_NATIVE = hasattr(asyncio.Condition, "_notify")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore
else:

    @copied_by(*vars(asyncio.Lock()))
    class Lock(_ferrio.LockCore, asyncio.Lock):
        """A mutual exclusion lock for tasks. Follows ``asyncio.Lock``."""

        acquire = _ferrio.CoroutineFunction("Lock.acquire", asyncio.Lock.acquire)
        locked = _ferrio.Function("Lock.locked", asyncio.Lock.locked)
        release = _ferrio.Function("Lock.release", asyncio.Lock.release)
        __aenter__ = _ferrio.CoroutineFunction("Lock.__aenter__", asyncio.Lock.__aenter__)
        __aexit__ = _ferrio.CoroutineFunction("Lock.__aexit__", asyncio.Lock.__aexit__)

    @copied_by(*vars(asyncio.Event()))
    class Event(_ferrio.EventCore, asyncio.Event):
        """A flag that tasks can wait for. Follows ``asyncio.Event``."""

        is_set = _ferrio.Function("Event.is_set", asyncio.Event.is_set)
        set = _ferrio.Function("Event.set", asyncio.Event.set)
        clear = _ferrio.Function("Event.clear", asyncio.Event.clear)
        wait = _ferrio.CoroutineFunction("Event.wait", asyncio.Event.wait)

    if _CONDITIONS_ARE_NATIVE:

        @copied_by(*vars(asyncio.Condition()))
        class Condition(_ferrio.ConditionCore, asyncio.Condition):
            """A lock whose holder can wait for a notification. Follows ``asyncio.Condition``."""

            def __init__(self, lock=None):
                super().__init__(Lock() if lock is None else lock)

            wait = _ferrio.CoroutineFunction("Condition.wait", asyncio.Condition.wait)
            wait_for = _ferrio.CoroutineFunction("Condition.wait_for", asyncio.Condition.wait_for)
            notify = _ferrio.Function("Condition.notify", asyncio.Condition.notify)
            notify_all = _ferrio.Function("Condition.notify_all", asyncio.Condition.notify_all)
            __aenter__ = _ferrio.CoroutineFunction("Condition.__aenter__", asyncio.Condition.__aenter__)
            __aexit__ = _ferrio.CoroutineFunction("Condition.__aexit__", asyncio.Condition.__aexit__)

        @copied_by(*vars(asyncio.Barrier(1)))
        class Barrier(_ferrio.BarrierCore, asyncio.Barrier):
            """A point at which tasks wait until all of them have arrived. Follows ``asyncio.Barrier``."""

            def __init__(self, parties):
                super().__init__(parties)
                # In place of asyncio's condition.
                self._cond = Condition()

            wait = _ferrio.CoroutineFunction("Barrier.wait", asyncio.Barrier.wait)
            __aenter__ = _ferrio.CoroutineFunction("Barrier.__aenter__", asyncio.Barrier.__aenter__)

    else:
        from asyncio import Barrier, Condition

    if _SEMAPHORES_ARE_NATIVE:

        @copied_by(*vars(asyncio.Semaphore()))
        class Semaphore(_ferrio.SemaphoreCore, asyncio.Semaphore):
            """A counter that limits how many tasks may proceed. Follows ``asyncio.Semaphore``."""

            acquire = _ferrio.CoroutineFunction("Semaphore.acquire", asyncio.Semaphore.acquire)
            locked = _ferrio.Function("Semaphore.locked", asyncio.Semaphore.locked)
            release = _ferrio.Function("Semaphore.release", asyncio.Semaphore.release)
            __aenter__ = _ferrio.CoroutineFunction("Semaphore.__aenter__", asyncio.Semaphore.__aenter__)
            __aexit__ = _ferrio.CoroutineFunction("Semaphore.__aexit__", asyncio.Semaphore.__aexit__)

        class BoundedSemaphore(Semaphore, asyncio.BoundedSemaphore):
            """A semaphore that cannot be released more often than acquired. Follows ``asyncio.BoundedSemaphore``."""

            __module__ = "ferrio.asyncio"

            __init__ = asyncio.BoundedSemaphore.__init__
            acquire = _ferrio.CoroutineFunction("Semaphore.acquire", asyncio.Semaphore.acquire)
            locked = _ferrio.Function("Semaphore.locked", asyncio.Semaphore.locked)
            release = asyncio.BoundedSemaphore.release
            __aenter__ = _ferrio.CoroutineFunction("Semaphore.__aenter__", asyncio.Semaphore.__aenter__)
            __aexit__ = asyncio.BoundedSemaphore.__aexit__

    else:
        from asyncio import BoundedSemaphore, Semaphore
