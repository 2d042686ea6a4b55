"""Running, turning and closing a loop, and what a fork changes in it."""

from __future__ import annotations

import asyncio.events
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from types import BuiltinFunctionType, MappingProxyType

from .. import _ferrio
from .._asyncio_internals import base_events, tasks
from .._base_loop import BaseLoop
from .._callers import runs_a_loop
from .._ferrio import LoopCore
from .._selector import ReactorSelector
from .._subprocess import Children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._base_loop import LoopWatch
    from .._statistics import CoroutineCost, Histograms, Statistics
else:
    # Stand-ins for tools that evaluate annotations: what these names mean is imported when it is first used.
    Any = CoroutineCost = Histograms = LoopWatch = Statistics = object

__all__ = ["RUN_ONCE", "RunningMethods", "turn"]

RUN_ONCE = LoopCore._run_once
TIME = LoopCore.time
# Since 3.12, BaseEventLoop has the two methods that prepare a run and end it.
_ASYNCIO_HAS_SETUP = hasattr(base_events.BaseEventLoop, "_run_forever_setup")


class RunningMethods(BaseLoop):
    """``run_forever``, ``close``, ``statistics``."""

    # The process that the loop was made in, or the forked child that it belongs to.
    _pid: int
    _children: Children
    # Who watches the loop, from the next run on or since.
    _watch: LoopWatch | None = None
    # How much is to be measured, by who wants it.
    _wanted_measures: Mapping[str, int] = MappingProxyType({})

    def run_forever(self) -> None:
        """Run until ``stop()`` is called.

        Raises:
            RuntimeError: The loop is closed or running, or another loop runs in this thread.
        """
        # Checked outside `try`: any other failure of the setup must be cleaned up.
        self._check_closed()
        self._check_running()
        self._look_for_clock()
        if self._watch is not None:
            self._watch.begin()
        try:
            self._run_forever_setup()
            self._run_until_stopped(self._signal_descriptor())
        finally:
            try:
                self._run_forever_cleanup()
            except MemoryError:
                # Before 3.14 the cleanup allocates. It is tried again, so that the loop does not stay the running one.
                self._run_forever_cleanup()
                raise

    if not _ASYNCIO_HAS_SETUP:
        _old_agen_hooks: Any = None

        def _run_forever_setup(self) -> None:
            self._check_closed()
            self._check_running()
            self._set_coroutine_origin_tracking(self._debug)
            self._old_agen_hooks = sys.get_asyncgen_hooks()
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            asyncio.events._set_running_loop(self)

        def _run_forever_cleanup(self) -> None:
            self._stopping = False
            self._thread_id = None
            asyncio.events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            if self._old_agen_hooks is not None:
                sys.set_asyncgen_hooks(*self._old_agen_hooks)
                self._old_agen_hooks = None

    def _look_for_clock(self) -> None:
        """Note whether the program has replaced ``time``, ``time.monotonic`` or the selector's ``select``.

        Turns are to call them then.
        """
        attributes = self.__dict__
        selector = attributes.get("_selector")
        is_plain = selector is None or (isinstance(selector, ReactorSelector) and not selector._is_asked())
        is_plain = is_plain and type(time.monotonic) is BuiltinFunctionType
        self._follows_program = not is_plain or "time" in attributes or type(self).time is not TIME

    def close(self) -> None:
        """Close the loop: pending callbacks are dropped, descriptors released.

        Raises:
            RuntimeError: The loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if os.getpid() != self._pid:
            # After a fork that Python was not told of, the epoll instance is still shared with the parent; closing the
            # loop must not change what the parent has registered there.
            self._release()
        if self._watch is not None:
            self._watch.stop()
        self._children.close()
        own = None if self._csock is None else self._csock.fileno()
        super().close()
        if own is not None and _ferrio._wakeup_descriptor() == own:
            # An exit while a signal handler was added or removed has left the loop's descriptor in place.
            _ferrio._restore_wakeup_descriptor(self._take_previous_wakeup_fd())
        self._release()

    def __del__(self) -> None:
        # One whose `__init__` has failed holds nothing to close.
        if "_pid" in self.__dict__:
            super().__del__()

    def statistics(self) -> Statistics:
        """What the loop has done so far, and what it has now. From any thread.

        What it has done is counted always. What it has (connections, tasks) is counted now, in a time that grows with
        their number.
        """
        from .._census import census
        from .._statistics import Statistics

        *counters, lag, max_lag = self._counters()
        return Statistics._make([*counters, lag / 1e9, max_lag / 1e9, *census(self)])

    def start_measuring(self, *, coroutines: bool = False) -> None:
        """Measure turns, callbacks and waits for ``histograms()``, from the next turn on. From any thread.

        Args:
            coroutines: Measure the processor's time by the name of the coroutine as well, for ``coroutine_costs()``.
        """
        self._measure_for("program", 2 if coroutines else 1)

    def stop_measuring(self) -> None:
        """Measure no more. What has been measured stays. From any thread."""
        self._measure_for("program", 0)

    def _measure_as_told(self, what: str) -> None:
        """Measure what the environment variable ``FERRIO_MEASURE`` says.

        Raises:
            ValueError: It says something else.
        """
        if what not in ("0", "1", "coroutines"):
            raise ValueError(f"FERRIO_MEASURE: 0, 1 or coroutines is needed, not {what!r}")
        if what != "0":
            self.start_measuring(coroutines=what == "coroutines")

    def _measure_for(self, whom: str, level: int) -> None:
        """Measure as much as somebody wants; the one who wants most gets it."""
        self._wanted_measures = {**self._wanted_measures, whom: level}
        self._measure(max(self._wanted_measures.values()))

    def histograms(self) -> Histograms:
        """How long what the loop does has taken so far. From any thread.

        The lag of timers is always counted, the rest after ``start_measuring()``.
        """
        from .._statistics import Histogram, Histograms

        return Histograms._make(map(Histogram.of, self._histograms()))

    def coroutine_costs(self) -> dict[str, CoroutineCost]:
        """What the steps of Ferrio's tasks have taken so far, by the names of their coroutines. From any thread.

        Counted after ``start_measuring(coroutines=True)``. From the 1,000th name on, further ones are counted under
        ``(others)``.
        """
        from .._statistics import CoroutineCost

        return {
            name: CoroutineCost(steps, cpu_ns / 1e9, longest_ns / 1e9)
            for name, steps, cpu_ns, longest_ns in self._coroutines()
        }

    def _after_fork(self) -> None:
        super()._after_fork()
        self._pid = os.getpid()
        self._renew_signal_pair()
        if self._watch is not None:
            self._watch.after_fork(is_running=self.is_running())


def turn(loop_reference: weakref.ref[BaseLoop]) -> None:
    """Run one turn of a loop, also from within one: the task that asks for it is not current meanwhile."""
    loop = loop_reference()
    if loop is None:
        return
    outer = asyncio.current_task(loop)
    if outer is None:
        RUN_ONCE(loop)
        return
    tasks._leave_task(loop, outer)
    try:
        RUN_ONCE(loop)
    finally:
        tasks._enter_task(loop, outer)


runs_a_loop(RunningMethods.run_forever)
runs_a_loop(turn)
