"""``Leaks``: what a test leaves behind, and where it was made.

The places come from ``tracemalloc``, which runs from the snapshot to the look: it knows where every object was made,
whatever has made it, at the price of a slower test. In Python 3.11 it does not find the instances of classes without
``__slots__``, so transports and threads are named without a place there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import gc
import io
import os
import socket
import sys
import threading
import tracemalloc
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "Leaks"]

KINDS = frozenset({"tasks", "transports", "descriptors", "threads"})
#: Frames that are kept for each object.
_DEPTH = 40
#: Turns that cancelled tasks and closed transports have to come to their end.
_TURNS = 20
#: Real seconds for a thread that is about to end.
_THREAD_LIMIT_S = 1.0
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
# Where a loop runs its callbacks: nobody further out has made what a callback makes.
_RUNNING = (os.path.join(_PACKAGE, "_event_loop", "running.py"), asyncio.events.__file__, asyncio.runners.__file__)


class Leaks:
    """A snapshot of a process, to be compared with what is there later.

    Args:
        except_for: Kinds not to look at, of ``"tasks"``, ``"transports"``, ``"descriptors"``, ``"threads"``.
    """

    def __init__(self, except_for: Collection[str] = ()) -> None:
        excepted = {except_for} if isinstance(except_for, str) else set(except_for)
        if unknown := excepted - KINDS:
            raise ValueError(f"no_leaks knows {sorted(KINDS)}, not {sorted(unknown)}")
        self._kinds = KINDS - excepted
        self._traces = not tracemalloc.is_tracing()
        if self._traces:
            tracemalloc.start(_DEPTH)
        self._descriptors = _descriptors()
        self._threads = set(threading.enumerate())

    def of_loop(self, loop: asyncio.AbstractEventLoop) -> LeaksOfLoop:
        """A snapshot of a running loop."""
        return LeaksOfLoop(loop, self._kinds)

    def left(self) -> list[str]:
        """Ends the snapshot: a line for each descriptor and thread that is new and still there."""
        try:
            left = self._left_threads() if "threads" in self._kinds else []
            return left + (self._left_descriptors() if "descriptors" in self._kinds else [])
        finally:
            if self._traces:
                tracemalloc.stop()

    def _left_threads(self) -> list[str]:
        left = []
        for thread in set(threading.enumerate()) - self._threads:
            # A worker of a loop's own executor lives as long as the loop, which may be that of a wider fixture.
            if thread in concurrent.futures.thread._threads_queues and thread.name.startswith("asyncio_"):
                continue
            with contextlib.suppress(RuntimeError):
                thread.join(_THREAD_LIMIT_S)
            if thread.is_alive():
                left.append(f"the thread {thread.name!r}{_made(thread)}")
        return left

    def _left_descriptors(self) -> list[str]:
        left = {fd: what for fd, what in _descriptors().items() if self._descriptors.get(fd) != what}
        owners = _owners(left) if left else {}
        lines = []
        for fd, what in left.items():
            owner = owners.get(fd)
            lines.append(f"the descriptor {fd} ({what})" + ("" if owner is None else f": {owner!r}{_made(owner)}"))
        return lines


class LeaksOfLoop:
    """The tasks and transports of a loop, to be compared with those of later."""

    def __init__(self, loop: Any, kinds: Collection[str]) -> None:
        self._loop = loop
        self._kinds = kinds
        self._tasks = asyncio.all_tasks(loop)
        self._transports = self._open_transports()
        self._depth = sys.get_coroutine_origin_tracking_depth()
        if "tasks" in kinds:
            sys.set_coroutine_origin_tracking_depth(max(self._depth, _DEPTH))

    async def left(self) -> list[str]:
        """A line for each task that is still pending, and for each transport that is still open."""
        sys.set_coroutine_origin_tracking_depth(self._depth)
        turns = 0
        while (left := self._left()) and turns < _TURNS:
            turns += 1
            await asyncio.sleep(0)
        return left

    def _left(self) -> list[str]:
        left = []
        if "tasks" in self._kinds:
            for task in asyncio.all_tasks(self._loop) - self._tasks - {asyncio.current_task(self._loop)}:
                left.append(f"the task {task.get_name()!r} of {_name(task.get_coro())}{_started(task)}")
        if "transports" in self._kinds:
            for transport in self._open_transports() - self._transports:
                left.append(f"the transport {transport!r}{_made(transport)}")
        return left

    def _open_transports(self) -> set[asyncio.BaseTransport]:
        transports = getattr(self._loop, "_transports", None)
        if "transports" not in self._kinds or transports is None:
            return set()
        return {transport for transport in transports.values() if not transport.is_closing()}


def _descriptors() -> dict[int, str]:
    """The open descriptors of the process, and what they lead to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _owners(descriptors: Collection[int]) -> dict[int, Any]:
    """The objects of Python that have these descriptors."""
    owners = {}
    for candidate in gc.get_objects():
        if not isinstance(candidate, (socket.socket, io.FileIO)):
            continue
        try:
            fd = candidate.fileno()
        except (OSError, ValueError):
            continue
        if fd in descriptors:
            owners[fd] = candidate
    return owners


def _name(coroutine: Any) -> str:
    return getattr(coroutine, "__qualname__", None) or repr(coroutine)


def _started(task: asyncio.Task[Any]) -> str:
    """Where the coroutine of a task was made, which mostly is where the task was."""
    origin = getattr(task.get_coro(), "cr_origin", None) or ()
    return _at([(filename, line) for filename, line, _ in origin]) or _made(task)


def _made(candidate: object) -> str:
    trace = tracemalloc.get_object_traceback(candidate)
    return "" if trace is None else _at([(frame.filename, frame.lineno) for frame in reversed(trace)])


def _at(frames: list[tuple[str, int]]) -> str:
    """The first of *frames*, innermost first, that is neither the standard library's nor Ferrio's."""
    for filename, line in frames:
        if filename in _RUNNING:
            break
        own = filename.startswith(_LIBRARY) and "site-packages" not in filename
        if not own and not filename.startswith((_PACKAGE, "<")):
            return f", made at {filename}:{line}"
    return ""
