"""``Statistics``: a loop's counters."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Statistics"]


class Statistics(NamedTuple):
    """A snapshot of a loop's counters, from ``Loop.statistics()``.

    Counters are always on and start at zero when the loop is made; the difference of two snapshots is what happened
    between them.
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
