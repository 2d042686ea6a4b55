"""``VirtualClock``: a loop's time that jumps to the next timer instead of waiting for it.

The clock takes the place of the loop's ``time`` and of its selector's ``select``; a turn of the loop asks both
(``docs/design/0022``). When nothing is ready, ``select`` decides:

1. What the kernel and other threads have by now comes first, always.
2. While an operation outside is under way for which time stands (a call in an executor, a child that somebody waits
   for, a connection being made, ``held()``), the loop waits for real.
3. Else, if descriptors are watched, their peers get ``io_grace_s`` of real time.
4. Then time jumps to the next timer.
5. Without a timer the loop waits for real if something can come at all, and the program fails if nothing can.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any

from .._event_loop import Loop
from .._ferrio import LoopCore
from .._selector import ReactorSelector
from ._waiting import describe_tasks

__all__ = ["VirtualClock", "WaitsForEver"]

#: What time can stand for.
OPERATIONS = frozenset({"threads", "children", "connections"})
# Making a connection, from the call until the handshake is over.
_CONNECTING = ("create_connection", "create_unix_connection", "start_tls")


class WaitsForEver(RuntimeError):
    """Nothing that the program waits for can come any more, or has come for too long; the message says what it is."""


class VirtualClock:
    """The time of one loop, in seconds, which passes only when the loop has nothing to do.

    Args:
        start: What ``loop.time()`` shows first. None: 0, or the time of a loop that runs already.
        automatic: Whether time jumps to the next timer when nothing is ready. Otherwise ``advance`` and ``run_for``
            move it.
        stands_for: The operations for which time stands while they are under way: ``"threads"`` (calls in executors,
            among them ``asyncio.to_thread`` and looking up host names), ``"children"`` (subprocesses whose end or
            output somebody waits for), ``"connections"`` (making a connection, with its TLS handshake).
        io_grace_s: Real seconds that time stands before each jump while descriptors are watched, so that bytes which
            are on their way arrive first.
        patience_s: Real seconds after which a wait for the outside fails with ``WaitsForEver``: while time stands, and
            when only descriptors, signals or threads are left to wake the program. 0: at once. ``math.inf``: never.

    A clock belongs to one loop at a time, and may be given to the next when that is closed; time goes on from where it
    was. Loop thread only, but for ``time`` and ``advance``. ``time.time()`` and ``time.monotonic()`` are not changed.
    """

    def __init__(
        self,
        start: float | None = None,
        *,
        automatic: bool = True,
        stands_for: Collection[str] = OPERATIONS,
        io_grace_s: float = 0.01,
        patience_s: float = 30.0,
    ) -> None:
        if unknown := set(stands_for) - OPERATIONS:
            raise ValueError(f"time cannot stand for {sorted(unknown)}; it can for {sorted(OPERATIONS)}")
        self._start = start
        self._now = 0.0 if start is None else float(start)
        self._stands_for = frozenset(stands_for)
        self._io_grace_s = io_grace_s
        self._patience_s = patience_s
        # Up to when time may jump by itself: the greatest counts.
        self._horizons = [math.inf if automatic else -math.inf]
        self._loop: Loop | None = None
        self._replaced: list[str] = []
        self._before: Any = None
        self._operations = _Operations()
        self._older_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} time={self._now}>"

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the start."""
        return self._now - (self._start or 0.0)

    def advance(self, seconds: float) -> None:
        """Move time on, at once. Timers that are due by it run in the next turn, in the order of their deadlines.

        From any thread.

        Raises:
            ValueError: *seconds* is negative, or no finite number.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time cannot advance by {seconds} seconds")
        self._now += seconds
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop._write_to_self()

    async def run_for(self, seconds: float) -> None:
        """Let *seconds* pass, timer by timer: each runs at its own time, with all that follows from it.

        For a clock that is moved by hand; with one that moves by itself it is a ``sleep``.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError(f"{self!r} is not the clock of the running loop")
        end = self._now + seconds
        over: asyncio.Future[None] = loop.create_future()
        handle = loop.call_at(end, _end, over)
        self._horizons.append(end)
        try:
            await over
        finally:
            self._horizons.remove(end)
            handle.cancel()

    @contextlib.contextmanager
    def held(self, reason: str = "held()") -> Iterator[None]:
        """Time stands while the block runs: for what the clock cannot see, as the work of a thread of one's own.

        Args:
            reason: What the message says when the program waits longer than ``patience_s``.
        """
        with self._operations.under_way(reason):
            yield

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Become the clock of *loop*.

        Raises:
            TypeError: *loop* is no native ``ferrio.Loop``.
            RuntimeError: The clock has a loop already.
        """
        if not isinstance(loop, Loop) or LoopCore not in type(loop).__mro__:
            raise TypeError(f"a virtual clock needs a loop of Ferrio's (ferrio.new_event_loop), not {loop!r}")
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(f"{self!r} already belongs to {self._loop!r}")
        if self._start is None:
            self._start = self._now = loop.time() if loop.is_running() else 0.0
        self._loop, self._before = loop, loop._selector
        self._older_threads = weakref.WeakSet(threading.enumerate())
        self._operations = _Operations()
        self._replace("run_in_executor", self._operations.observed_executor(loop.run_in_executor))
        self._replace(
            "shutdown_default_executor", self._holding(loop, "shutdown_default_executor", "an executor's end")
        )
        if "children" in self._stands_for:
            make = loop._make_subprocess_transport
            self._replace("_make_subprocess_transport", self._operations.observed_children(make))
        if "connections" in self._stands_for:
            for name in _CONNECTING:
                self._replace(name, self._holding(loop, name, f"{name}()"))
        self._replace("time", self.time)
        loop._selector = _VirtualSelector(loop, self._wait)

    def detach(self) -> None:
        """Give the loop its own time back. Does nothing without a loop."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for name in self._replaced:
            loop.__dict__.pop(name, None)
        self._replaced.clear()
        if not loop.is_closed():
            loop._selector = self._before
        loop._look_for_clock()

    @contextlib.contextmanager
    def attached(self, loop: asyncio.AbstractEventLoop) -> Iterator[VirtualClock]:
        """Be the clock of *loop* while the block runs."""
        self.attach(loop)
        try:
            yield self
        finally:
            self.detach()

    def _replace(self, name: str, method: Callable[..., Any]) -> None:
        setattr(self._loop, name, method)
        self._replaced.append(name)

    def _holding(self, loop: Loop, name: str, reason: str) -> Callable[..., Any]:
        method = getattr(loop, name)

        @functools.wraps(method)
        async def holding(*args: Any, **options: Any) -> Any:
            with self.held(reason):
                return await method(*args, **options)

        return holding

    def _wait(self, loop: Loop, select: Callable[[float | None], list[Any]], timeout: float | None) -> list[Any]:
        """The turn's ``select``."""
        found = select(0)
        if found or timeout == 0:
            return found
        when = loop._next_when()
        if when is not None and math.isinf(when):
            when = None
        standing = self._operations.list(self._stands_for)
        if when is not None and not standing and when <= max(self._horizons):
            if self._io_grace_s > 0 and loop.statistics().watched:
                found = select(self._io_grace_s)
            if not found:
                self._now = max(self._now, when)
            return found
        if not standing and not self._can_be_woken(loop):
            raise WaitsForEver(self._message(loop, when, "nothing outside can wake the program"))
        return self._wait_for_real(loop, select, when, standing)

    def _wait_for_real(
        self, loop: Loop, select: Callable[[float | None], list[Any]], when: float | None, standing: list[str]
    ) -> list[Any]:
        if self._patience_s == math.inf:
            return select(None)
        moment, end = self._now, time.monotonic() + self._patience_s
        while (left := end - time.monotonic()) > 0:
            found = select(left)
            # An end without news: a signal, or advance() by another thread.
            if found or self._now != moment or loop._stopping:
                return found
        what = f"time stands for {', '.join(standing)}" if standing else "only I/O, signals and threads are left"
        outside = f"nothing has come from outside for {self._patience_s} s of real time ({what})"
        raise WaitsForEver(self._message(loop, when, outside))

    def _can_be_woken(self, loop: Loop) -> bool:
        """Whether a descriptor, a signal or another thread may give the loop something to do."""
        if loop.statistics().watched or loop._signal_handlers:
            return True
        others = {thread for thread in threading.enumerate() if thread.is_alive()} - {threading.current_thread()}
        if threading.current_thread() is threading.main_thread():
            others -= set(self._older_threads)
        return bool(others - self._operations.workers(loop))

    def _message(self, loop: Loop, when: float | None, outside: str) -> str:
        timer = "no timer is set"
        if when is not None:
            timer = f"the next timer is due in {when - self._now} s, and nobody moves the time"
        return f"The program waits for ever: nothing is ready, {timer}, and {outside}.\n{describe_tasks(loop)}"


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _VirtualSelector(ReactorSelector):
    """The selector of a loop with a virtual clock."""

    def __init__(self, loop: Loop, wait: Callable[..., list[Any]]) -> None:
        super().__init__(loop)
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[Any]:
        return self._wait(self._loop, super().select, timeout)


class _Operations:
    """What is under way outside of the loop."""

    def __init__(self) -> None:
        self._held: list[str] = []
        # A future by which a call in an executor ends, and what is called.
        self._calls: dict[asyncio.Future[Any], str] = {}
        self._executors: weakref.WeakSet[Any] = weakref.WeakSet()
        self._children: weakref.WeakSet[asyncio.SubprocessTransport] = weakref.WeakSet()

    @contextlib.contextmanager
    def under_way(self, reason: str) -> Iterator[None]:
        self._held.append(reason)
        try:
            yield
        finally:
            self._held.remove(reason)

    def observed_executor(self, run_in_executor: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run_in_executor)
        def observed(executor: Any, func: Callable[..., Any], *args: Any) -> Any:
            future = run_in_executor(executor, func, *args)
            if isinstance(future, asyncio.Future):
                self._calls[future] = getattr(func, "__qualname__", None) or repr(func)
                if executor is not None:
                    self._executors.add(executor)
            return future

        return observed

    def observed_children(self, make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        async def observed(*args: Any, **options: Any) -> Any:
            transport = await make(*args, **options)
            self._children.add(transport)
            return transport

        return observed

    def list(self, kinds: Collection[str]) -> list[str]:
        """The operations for which time stands."""
        operations = list(self._held)
        self._calls = {future: name for future, name in self._calls.items() if not future.done()}
        if "threads" in kinds:
            operations += [f"the call of {name} in an executor" for name in self._calls.values()]
        for child in self._children:
            if child.get_returncode() is None and _is_awaited(child):
                operations.append(f"the child process {child.get_pid()}")
        return operations

    def workers(self, loop: Any) -> set[threading.Thread]:
        """The threads of executors that have nothing to do for the loop."""
        if self._calls:
            return set()
        executors = [loop._default_executor, *self._executors]
        return {thread for executor in executors for thread in getattr(executor, "_threads", ())}


def _is_awaited(child: Any) -> bool:
    """Whether somebody waits for the end of a subprocess, or for its pipes."""
    if child._exit_waiters:
        return True
    protocol: Any = child.get_protocol()
    if not isinstance(protocol, asyncio.subprocess.SubprocessStreamProtocol):
        # What a protocol of the program's waits for is not known.
        return True
    readers = (protocol.stdout, protocol.stderr)
    return getattr(protocol, "_paused", False) or any(
        getattr(reader, "_waiter", None) is not None for reader in readers
    )
