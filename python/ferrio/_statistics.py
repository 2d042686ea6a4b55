"""``Statistics``, ``Histograms``, ``CoroutineCost``: what a loop has counted and measured."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

__all__ = ["BOUNDS_S", "CoroutineCost", "Histogram", "Histograms", "Statistics"]

#: The upper bounds of a histogram's buckets in seconds, from a microsecond on, each twice the one before. A last bucket
#: has what is longer.
BOUNDS_S: tuple[float, ...] = tuple((1 << index) / 1e6 for index in range(25))


class Statistics(NamedTuple):
    """A snapshot of a loop's counters, from ``Loop.statistics()``.

    Counters are always on and start at zero when the loop is made; the difference of two snapshots is what happened
    between them. What is there now, from ``connections`` on, is counted when somebody asks: that takes a look at every
    transport and every task.
    """

    turns: int
    """Turns of the loop that were begun."""
    polls: int
    """Calls that ask the kernel for events, blocking or not. A turn with work to do and nothing watched makes none."""
    sleeps: int
    """Polls that were allowed to block, because nothing was ready."""
    callbacks: int
    """Entries taken from the ready queue to be run: callbacks, steps of tasks, transports that could make progress."""
    timers_fired: int
    """Timers that came due without having been cancelled."""
    ready: int
    """Entries that are ready now and run in the next turn."""
    timers: int
    """Timers that are pending now."""
    watched: int
    """Descriptors that are registered with the kernel now, without the loop's own. One that was paused just now may
    still be included."""
    received_bytes: int
    """Bytes that transports have received."""
    sent_bytes: int
    """Bytes of transports that the kernel has accepted."""
    timer_lag: float
    """Seconds from the deadline of the last timer that fired to the moment when the loop found it due. If several were
    found due together, that of the earliest."""
    max_timer_lag: float
    """The largest such lag so far, in seconds: the longest time for which callbacks delayed a timer."""
    connections: int
    """Stream connections that are open now, TCP and Unix, until ``connection_lost``."""
    queued_bytes: int
    """Bytes that transports of sockets and pipes have now and the kernel has not taken; of TLS, bytes of records."""
    tasks: int
    """Tasks that are alive now: those of ``asyncio.all_tasks()``."""
    executor_queue: int
    """Calls that wait now for a thread of the default executor."""
    executor_busy: int
    """Threads of the default executor that run a call now. On Python 3.11, whose executor takes threads for idle that
    are not, it may be less once calls have waited."""


class Histogram(NamedTuple):
    """How many times of which length there were, in buckets that double. Counts only grow.

    The difference of two (``later - earlier``) is what there was between them.
    """

    counts: tuple[int, ...]
    """How many there were in each bucket: as many as ``ferrio.metrics.BOUNDS_S``, and one for what is longer."""
    sum_s: float
    """The sum of all times in seconds."""

    @property
    def total(self) -> int:
        """How many there were in all."""
        return sum(self.counts)

    def quantile(self, part: float) -> float:
        """Seconds that the given part of all times (0.99, say) does not exceed; 0 if there were none.

        It is interpolated within a bucket, so it is exact to a factor of two at worst. Of what is longer than the last
        bound, the bound is all that is known.
        """
        wanted = part * self.total
        if wanted <= 0:
            return 0.0
        for index, below in enumerate(accumulate(self.counts)):
            if below >= wanted and index < len(BOUNDS_S):
                lower = 0.0 if index == 0 else BOUNDS_S[index - 1]
                share = 1 - (below - wanted) / self.counts[index]
                return lower + (BOUNDS_S[index] - lower) * share
        return BOUNDS_S[-1]

    def longest(self) -> float:
        """The upper bound in seconds of the last bucket that has something; inf if it has none, 0 without any."""
        last = max((index for index, count in enumerate(self.counts) if count), default=None)
        if last is None:
            return 0.0
        return BOUNDS_S[last] if last < len(BOUNDS_S) else float("inf")

    def __sub__(self, earlier: Histogram) -> Histogram:
        counts = tuple(now - before for now, before in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts, self.sum_s - earlier.sum_s)

    @classmethod
    def of(cls, figures: list[int]) -> Histogram:
        """Made of the counts and the sum in nanoseconds."""
        *counts, sum_ns = figures
        return cls(tuple(counts), sum_ns / 1e9)


class Histograms(NamedTuple):
    """What ``Loop.histograms()`` returns: a histogram each."""

    timer_lag: Histogram
    """By how much timers were late, always counted; of those found due together, the earliest."""
    turns: Histogram
    """From the beginning of the first callback of a turn to the end of the last one, while measured."""
    callbacks: Histogram
    """Callbacks, steps of tasks and transports that made progress, while measured."""
    waits: Histogram
    """Questions to the kernel, until it answered: sleeps and those that do not wait, while measured."""


class CoroutineCost(NamedTuple):
    """What the steps of the coroutines of one name have taken."""

    steps: int
    """How many there were."""
    cpu_s: float
    """The processor's time of the loop's thread in seconds."""
    longest_s: float
    """Seconds from the beginning to the end of the longest step."""
