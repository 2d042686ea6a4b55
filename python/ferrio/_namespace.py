"""Which of asyncio's names mean something of Ferrio's: the one list behind ``ferrio.asyncio`` and ``install()``.

``PRIMITIVES`` are subclasses or equals of asyncio's objects and work on any loop. ``LOOPS`` are the names of asyncio's
Unix loop, which not every version has.
"""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import asyncio.tasks
import asyncio.unix_events
from typing import Any, NamedTuple

from ._event_loop import Loop

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


PRIMITIVES: tuple[Primitive, ...] = ()
