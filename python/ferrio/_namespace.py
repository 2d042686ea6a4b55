"""Which of asyncio's names mean something of Ferrio's: the one list behind ``ferrio.asyncio`` and ``install()``.

``PRIMITIVES`` are subclasses or equals of asyncio's objects and work on any loop. ``LOOPS`` are the names of asyncio's
Unix loop, which not every version has.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
from typing import Any, NamedTuple

from . import _combining, _locks, _queues, _sleeping, _task_groups, _timeouts
from ._copying import native_functions

__all__ = ["LOOPS", "POLICIES", "PRIMITIVES", "Primitive"]


class Primitive(NamedTuple):
    """A name of asyncio's, what asyncio has under it, and what Ferrio has."""

    name: str
    original: Any
    ours: Any


#: The names of asyncio's Unix loop.
LOOPS = tuple(name for name in ("SelectorEventLoop", "EventLoop") if name in vars(asyncio.unix_events))
#: The default policies, which make loops by their attribute ``_loop_factory``.
POLICIES = tuple(
    name for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy") if name in vars(asyncio.unix_events)
)


def _differing() -> tuple[Primitive, ...]:
    found = []
    for module in (_sleeping, _combining, _locks, _queues, _timeouts, _task_groups):
        for name in module.__all__:
            original, ours = vars(asyncio)[name], vars(module)[name]
            # Where a version's rules are others, the name means asyncio's own.
            if ours is not original:
                found.append(Primitive(name, original, ours))
    return tuple(found)


#: What works on any loop.
PRIMITIVES = _differing()
native_functions.update((primitive.name, primitive.ours) for primitive in PRIMITIVES)
