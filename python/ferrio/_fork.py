"""What live loops do when the process forks.

A forked child's copies of the loops get descriptors of their own, so that whatever the child does with them (closing
one, pausing a transport, going on to run it) the parent goes on undisturbed. The hooks are for ``os.fork`` and all that
calls it: ``multiprocessing``, ``pty.fork``, ``subprocess`` with a ``preexec_fn``. A fork in C that does not tell Python
is not noticed.
"""

from __future__ import annotations

import os
import weakref
from asyncio.log import logger
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._ferrio import LoopCore

__all__ = ["follow_forks"]

# A plain set: a copy of it is made in one step, whatever other threads do to it meanwhile.
_live: set[weakref.ref[LoopCore]] = set()


def follow_forks(loop: LoopCore) -> None:
    """Let *loop* take part in every fork until it is closed or forgotten."""
    _live.add(weakref.ref(loop, _live.discard))


def _open_loops() -> list[LoopCore]:
    loops = [reference() for reference in list(_live)]
    return [loop for loop in loops if loop is not None and not loop.is_closed()]


def _before() -> None:
    for loop in _open_loops():
        loop._before_fork()


def _after_in_child() -> None:
    for loop in _open_loops():
        try:
            loop._after_fork()
        except Exception:
            logger.exception("%r cannot be used in this forked process", loop)


os.register_at_fork(before=_before, after_in_child=_after_in_child)
