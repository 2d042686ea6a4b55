"""``census``: what a loop has now: connections, bytes to be sent, tasks, the executor's calls. Counted when asked for.

Nothing of it is kept up to date by the loop. Every transport and every task is looked at, in whichever thread asks.

Invariants:

1. The loop's thread is the one that frees what is looked at: another thread gives back its references while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ._asyncio_internals import tasks
from ._transports import Transports, living

if TYPE_CHECKING:
    from ._base_loop import BaseLoop

__all__ = ["census"]


def census(loop: BaseLoop) -> tuple[int, int, int, int, int]:
    """The fields of ``Statistics`` from ``connections`` on."""
    connections, queued_bytes = loop._open_connections()
    known: Transports = loop._transports  # type: ignore[assignment]
    transports = [*known.entered(), *living(known.write_pipes)]
    connections += sum(_is_connection(transport) for transport in transports)
    queued_bytes += sum(_queued_bytes(transport) for transport in transports)
    tasks = _tasks_of(loop)
    alive = sum(not task.done() for task in tasks)
    held = [transports, tasks]
    # From here on only that list has them, which the loop's thread empties.
    del transports, tasks
    if loop.is_running() and loop._thread_id != threading.get_ident():
        _LOOKED_AT.setdefault(loop, _LookedAt()).hand_over(loop, held)
    return connections, queued_bytes, alive, *_calls(loop._default_executor)


class _LookedAt:
    """What other threads have looked at, for the loop's thread to free."""

    def __init__(self) -> None:
        self._held: list[list[Any]] = []
        self._is_scheduled = False

    def hand_over(self, loop: BaseLoop, objects: list[Any]) -> None:
        """Leave *objects* to the loop's thread: with one callback while it is blocked, however often it is asked."""
        self._held.append(objects)
        if not self._is_scheduled:
            self._is_scheduled = True
            # A loop that is closed by now frees nothing any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        # In this order: whoever appends from now on asks for another callback.
        self._is_scheduled = False
        while self._held:
            self._held.pop().clear()


# Not an attribute of the loop: each takes a place among those that CPython finds quickly.
_LOOKED_AT: weakref.WeakKeyDictionary[BaseLoop, _LookedAt] = weakref.WeakKeyDictionary()


if sys.version_info >= (3, 14):

    def _tasks_of(loop: BaseLoop) -> list[asyncio.Task[Any]]:
        return list(asyncio.all_tasks(loop))

else:
    # Before 3.14, `all_tasks()` is a function of Python's that drops what it does not return.
    _REGISTERED: weakref.WeakSet[asyncio.Task[Any]] = getattr(
        tasks, "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
    )
    _EAGER: set[asyncio.Task[Any]] = getattr(tasks, "_eager_tasks", set())

    def _tasks_of(loop: BaseLoop) -> list[asyncio.Task[Any]]:
        # Each is one step, while other threads may change the set.
        references, eager = tuple(_REGISTERED.data), tuple(_EAGER)  # type: ignore[attr-defined]
        of_loop = [task for reference in references if (task := reference()) is not None and task.get_loop() is loop]
        return of_loop + [task for task in eager if task.get_loop() is loop and task not in of_loop]


def _is_connection(transport: Any) -> bool:
    """Whether it is one of asyncio's own class that is open; a pipe's transport has no socket."""
    return not isinstance(transport, asyncio.DatagramTransport) and getattr(transport, "_sock", None) is not None


def _queued_bytes(transport: Any) -> int:
    if getattr(transport, "_sock", transport) is None:
        # It has ended; what it had is lost.
        return 0
    try:
        size: int = transport.get_write_buffer_size()
    except RuntimeError:
        # One of asyncio's, whose queue has changed while it was added up.
        return 0
    return size


def _calls(executor: Any) -> tuple[int, int]:
    """How many calls wait for a thread of the loop's executor, and how many threads run one."""
    try:
        # One that is shut down has an item in its queue that tells the threads so.
        waiting = executor._work_queue.qsize() - bool(executor._shutdown)
        threads = sum(thread.is_alive() for thread in tuple(executor._threads))
        busy = threads - executor._idle_semaphore._value
    except AttributeError:
        # None yet, or a class of the program's that is made otherwise.
        return 0, 0
    return max(0, waiting), max(0, busy)
