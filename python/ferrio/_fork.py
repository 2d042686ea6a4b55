"""Fork hooks: the loops of a forked child get descriptors of their own.

Whatever the child then does with its copies (closing a loop, pausing a transport, running on) does not disturb the
parent. The hooks run for ``os.fork`` and everything that uses it: ``multiprocessing``, ``pty.fork``, and ``subprocess``
with a ``preexec_fn``. They do not run for a fork in C code that bypasses Python.
"""

from __future__ import annotations

import os
import weakref
from asyncio.log import logger
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._ferrio import LoopCore

__all__ = ["follow_forks", "open_loops", "told_of_loops"]

# Not a WeakSet: a plain set is copied in one step, even while other threads change it.
_live: set[weakref.ref[LoopCore]] = set()
#: Called with each loop that is made.
told_of_loops: list[Callable[[LoopCore], object]] = []


def follow_forks(loop: LoopCore) -> None:
    """Run the hooks for *loop* at every fork until it is closed or collected."""
    _live.add(weakref.ref(loop, _live.discard))
    for tell in tuple(told_of_loops):
        tell(loop)


def open_loops() -> list[LoopCore]:
    """Every loop of this process that is not closed."""
    loops = [reference() for reference in list(_live)]
    return [loop for loop in loops if loop is not None and not loop.is_closed()]


def _before() -> None:
    for loop in open_loops():
        loop._before_fork()


def _after_in_child() -> None:
    for loop in open_loops():
        try:
            loop._after_fork()
        except Exception:
            logger.exception("%r cannot be used in this forked process", loop)


os.register_at_fork(before=_before, after_in_child=_after_in_child)
