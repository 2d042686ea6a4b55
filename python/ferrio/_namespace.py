"""The names of asyncio that Ferrio replaces: the one list behind ``ferrio.asyncio`` and ``install()``.

Primitives are subclasses of asyncio's classes, or functions that behave as asyncio's; they work on any loop.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events

from . import _combining, _locks, _queues, _sleeping, _streams, _task_groups, _timeouts
from ._copying import native_functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LOOPS", "POLICIES", "PRIMITIVES", "Primitive"]


class Primitive:
    """A name of asyncio, asyncio's object under that name, and Ferrio's."""

    def __init__(self, name: str, original: Any, ours: Any) -> None:
        self.name = name
        self.original = original
        self.ours = ours


#: The names of asyncio's Unix loop in this release.
LOOPS = tuple(name for name in ("SelectorEventLoop", "EventLoop") if name in vars(asyncio.unix_events))
#: The default policies in this release, which make loops by their attribute ``_loop_factory``.
POLICIES = tuple(
    name for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy") if name in vars(asyncio.unix_events)
)


def _differing() -> tuple[Primitive, ...]:
    found = []
    for module in (_sleeping, _combining, _locks, _queues, _timeouts, _task_groups, _streams):
        for name in module.__all__:
            original, ours = vars(asyncio)[name], vars(module)[name]
            # In some releases a name still has asyncio's object, whose behaviour the native one does not match.
            if ours is not original:
                found.append(Primitive(name, original, ours))
    return tuple(found)


#: Primitives that Ferrio replaces in this release.
PRIMITIVES = _differing()
native_functions.update((primitive.name, primitive.ours) for primitive in PRIMITIVES)
