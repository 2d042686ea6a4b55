"""``watch``: reports what blocks a loop, while it does.

The native half, ``_ferrio.Watchdog``, looks at the loop from a thread that needs no interpreter. A thread of Python's
takes its news, finds out whose callback it is, and reports. Both are daemons: neither keeps a program alive.

Invariants:

1. Nobody who watches a loop keeps it alive; both threads end when it is closed or collected.
2. The native thread has all signals blocked, so that those of the process go to threads that can handle them.
3. No reference to a frame, a task or a context is kept: their ends are the loop's thread's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self

from ._base_loop import BaseLoop
from ._ferrio import LoopCore, Watchdog
from ._stalls import Capture, Stall, beneath_the_loop

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["VARIABLE", "Stall", "Watch", "seconds", "watch", "watch_as_told"]

#: The environment variable that has every loop watched: seconds; empty or 0 for none.
VARIABLE = "FERRIO_WATCH"

#: Different stalls that are remembered; the oldest is forgotten first.
MOST_STALLS = 256

#: How long the end of a loop waits for a report that is being made.
LAST_REPORT_S = 2.0

logger = logging.getLogger("ferrio.watch")

Report = Callable[[Stall], object]
Describe = Callable[[Context], Mapping[str, object]]


class Watch:
    """Somebody watches a loop; made by ``watch()``. As a context manager, until its end."""

    def __init__(self, loop: BaseLoop, slow_s: float, report: Report | None, describe: Describe | None) -> None:
        self._loop = weakref.ref(loop)
        self._slow_s = slow_s
        self._report = report
        self._describe = describe
        self._watchdog: Watchdog | None = None
        self._thread: threading.Thread | None = None
        self._stalls: dict[object, Stall] = {}

    @property
    def stalls(self) -> tuple[Stall, ...]:
        """The different stalls so far, the latest last; of equal ones the first, which counts them. At most 256."""
        return tuple(self._stalls.values())

    def begin(self) -> None:
        """The loop begins to run: start to look, if nobody does yet."""
        try:
            self._start()
        except (OSError, RuntimeError) as error:
            # No descriptor or no thread: the program goes on without being watched.
            logger.warning("The event loop cannot be watched: %s", error)

    def _start(self) -> None:
        loop = self._loop()
        if self._watchdog is not None or loop is None or loop.is_closed():
            return
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            watchdog = Watchdog(loop, self._slow_s)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        thread = threading.Thread(target=self._take_news, args=(watchdog,), name="ferrio-watch-reports", daemon=True)
        thread.start()
        self._watchdog, self._thread = watchdog, thread

    def stop(self) -> None:
        """Stop watching. What has been seen is reported first. From any thread."""
        loop = self._loop()
        if loop is not None and loop._watch is self:
            loop._watch = None
        watchdog, thread = self._watchdog, self._thread
        self._watchdog = self._thread = None
        if watchdog is None or thread is None:
            return
        watchdog.end()
        # While the interpreter ends, threads of Python's do not run any more.
        if thread is not threading.current_thread() and not sys.is_finalizing():
            thread.join(LAST_REPORT_S)

    def after_fork(self, *, is_running: bool) -> None:
        """In a forked child, which has none of the threads: look anew, from the next run of the loop on."""
        self._watchdog = self._thread = None
        if is_running:
            self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_news(self, watchdog: Watchdog) -> None:
        """What the thread does that reports."""
        bell = select.poll()
        bell.register(watchdog.fileno(), select.POLLIN)
        stall: Stall | None = None
        while True:
            bell.poll()
            has_ended = watchdog.has_ended
            for change, number, lasted_s, waited_s, places in watchdog.take():
                try:
                    if change == "begun":
                        stall = self._find(watchdog, number, lasted_s, waited_s, places)
                    elif stall is not None:
                        stall.lasted_s = max(stall.lasted_s, lasted_s)
                        stall.is_over = change == "ended"
                        if change == "lasting" and stall.times == 1:
                            stall.captures.append(self._capture(watchdog, number, lasted_s, waited_s, places))
                except Exception:
                    logger.exception("A stall of the event loop could not be reported")
            if has_ended:
                return

    def _capture(
        self,
        watchdog: Watchdog,
        number: int,
        lasted_s: float,
        waited_s: float,
        places: list[tuple[str, str, int]] | None,
    ) -> Capture:
        if waited_s <= watchdog.grace_s and watchdog.is_in(number):
            # Seen from outside, a thread that runs Python code may have been between two places.
            places = (watchdog.stack() if watchdog.reads_stacks else self._frames()) or places
        return Capture(lasted_s, beneath_the_loop(places or []))

    def _frames(self) -> list[tuple[str, str, int]]:
        """The stack of the loop's thread by the interpreter's own means."""
        loop = self._loop()
        thread = None if loop is None else loop._thread_id
        frame: FrameType | None = None if thread is None else sys._current_frames().get(thread)
        places = []
        while frame is not None:
            places.append((frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno or 0))
            frame = frame.f_back
        return places

    def _find(
        self,
        watchdog: Watchdog,
        number: int,
        lasted_s: float,
        waited_s: float,
        places: list[tuple[str, str, int]] | None,
    ) -> Stall:
        """Note a stall that has begun, and report it unless an equal one was."""
        capture = self._capture(watchdog, number, lasted_s, waited_s, places)
        stall = Stall(lasted_s + waited_s, [capture], kept_interpreter=waited_s > watchdog.grace_s)
        self._ask_who(stall, watchdog)
        if not watchdog.is_in(number):
            # Whoever was asked may not be the one that it was about.
            stall.task = stall.coroutine = None
            stall.context = {}
        key = (capture.stack, stall.coroutine)
        if (known := self._stalls.pop(key, None)) is not None:
            self._stalls[key] = known
            known.times += 1
            known.lasted_s = max(known.lasted_s, stall.lasted_s)
            known.is_over = False
            return known
        self._stalls[key] = stall
        if len(self._stalls) > MOST_STALLS:
            del self._stalls[next(iter(self._stalls))]
        logger.warning("%s", str(stall).rstrip("\n"), extra={"stall": stall})
        if self._report is not None:
            self._report(stall)
        return stall

    def _ask_who(self, stall: Stall, watchdog: Watchdog) -> None:
        loop = self._loop()
        task = None if loop is None else asyncio.current_task(loop)
        if task is not None:
            stall.task = task.get_name()
            coroutine: Any = task.get_coro()
            stall.coroutine = getattr(coroutine, "__qualname__", None) or repr(coroutine)
        if self._describe is not None:
            # Before 3.12 a task does not say in which context it runs, nor does a callback ever.
            get_context = getattr(task, "get_context", None)
            context: Context | None = watchdog.context() if get_context is None else get_context()
            if context is not None:
                stall.context = dict(self._describe(context))


def watch(
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    slow_s: float = 0.1,
    report: Report | None = None,
    context: Describe | None = None,
) -> Watch:
    """Report every callback and every step of a task that blocks *loop* for *slow_s* seconds, while it does.

    A report is a ``Stall``: the stack of the loop's thread at that moment, the task, its coroutine. It is logged as a
    warning of the logger ``ferrio.watch``, whose record has it as ``stall``. Equal stalls are reported once, and
    counted. Code that keeps the interpreter keeps the report waiting; its stack is written to the standard error
    meanwhile.

    Args:
        loop: A Ferrio loop; the running one when None. A watch that it has already ends.
        slow_s: Seconds, more than 0. Looked at four times in this time, at most every millisecond.
        report: Called with each stall that is logged, in a thread of its own. What it raises is logged.
        context: Called, in that thread, with the context of the callback, to be read only; what it returns is shown in
            the report: ``lambda context: {"request": context.get(request_id)}``.

    Returns:
        The watch. It ends with the loop, or with ``stop()``.

    Raises:
        RuntimeError: *loop* is None and none is running, or it is closed.
        TypeError: *loop* is no native loop of Ferrio's.
        ValueError: *slow_s* is no positive number.
    """
    if loop is None:
        loop = asyncio.get_running_loop()
    if not isinstance(loop, LoopCore):
        raise TypeError(f"a Ferrio loop is needed, not {loop!r}")
    if loop.is_closed():
        raise RuntimeError("Event loop is closed")
    made = Watch(loop, seconds(slow_s), report, context)  # type: ignore[arg-type]
    before, loop._watch = loop._watch, made  # type: ignore[attr-defined]
    if before is not None:
        before.stop()
    if loop.is_running():
        made._start()
    return made


def watch_as_told(loop: BaseLoop) -> None:
    """Watch *loop* if the environment says so.

    Raises:
        ValueError: The variable is no number.
    """
    text = os.environ.get(VARIABLE, "")
    if text.strip() in ("", "0"):
        return
    try:
        watch(loop, slow_s=seconds(text))
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {error}") from None


def seconds(value: float | str) -> float:
    """The number of seconds that *value* is.

    Raises:
        ValueError: It is none, or not positive.
    """
    number = float(value)
    if not 0 < number < threading.TIMEOUT_MAX:
        raise ValueError(f"a positive number of seconds is needed, not {value!r}")
    return number
