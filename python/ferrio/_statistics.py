"""``Statistics``: what a loop has done so far."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Statistics"]


class Statistics(NamedTuple):
    """A snapshot of a loop's counters, from ``Loop.statistics()``.

    Counters grow from the loop's making on, whether anybody reads them or not; the difference of two snapshots tells
    what happened between them.
    """

    turns: int
    """Turns of the loop that have begun."""
    polls: int
    """Questions to the kernel, waiting ones included. A turn with nothing watched and something to run asks none."""
    sleeps: int
    """Polls that could wait, because nothing was ready."""
    callbacks: int
    """Entries handed out to be run: callbacks, steps of tasks, transports that could make progress."""
    timers_fired: int
    """Timers that became due and were not cancelled."""
    ready: int
    """Entries that are ready now, and will be run in the next turn."""
    timers: int
    """Timers that are pending now."""
    watched: int
    """Descriptors that are registered with the kernel now, without the loop's own. One that was paused a moment ago
    may still be among them."""
    received_bytes: int
    """Bytes that transports have received."""
    sent_bytes: int
    """Bytes of transports that the kernel has taken."""
    timer_lag: float
    """Seconds between the deadline of the last timer that fired and the moment when the loop found it due. Of those
    that were found together, the first one's."""
    max_timer_lag: float
    """The largest such lag so far, in seconds: the longest that callbacks have kept a timer waiting."""
