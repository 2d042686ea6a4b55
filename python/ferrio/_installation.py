"""``install`` and ``uninstall``: Ferrio's loop and primitives under asyncio's names, for programs nobody wants to edit.

asyncio's modules look each other's names up when they run, some in the module that defines them and some in one that
has imported them. A name is therefore replaced wherever a module of asyncio has the very object.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.unix_events
import sys
import threading
from types import ModuleType
from typing import Any

from ._event_loop import Loop
from ._namespace import LOOPS, POLICIES, PRIMITIVES

_lock = threading.Lock()
_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Make asyncio's names of its loop and of what Ferrio has in place of asyncio's primitives mean Ferrio's.

    ``asyncio.run``, ``Runner`` and ``new_event_loop`` make Ferrio loops then. For the whole process, until
    ``uninstall()``, and for those that ``multiprocessing`` starts meanwhile; objects and subclasses that exist stay
    what they are. Calling it twice is calling it once.
    """
    with _lock:
        if _replaced:
            return
        for module in (asyncio, asyncio.unix_events):
            for name in LOOPS:
                _replace(module, name, Loop)
        for policy in POLICIES:
            _replace(vars(asyncio.unix_events)[policy], "_loop_factory", Loop)
        for module in _modules():
            for primitive in PRIMITIVES:
                if vars(module).get(primitive.name) is primitive.original:
                    _replace(module, primitive.name, primitive.ours)
        from . import _spawned

        prepare = _spawned.spawn.get_preparation_data
        _replace(_spawned.spawn, "get_preparation_data", _spawned.prepares_for_ferrio(prepare))


def uninstall() -> None:
    """Put back what ``install()`` replaced."""
    with _lock:
        while _replaced:
            owner, name, before = _replaced.pop()
            setattr(owner, name, before)


def _modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name == "asyncio" or name.startswith("asyncio.")]


def _replace(owner: Any, name: str, value: object) -> None:
    before = vars(owner).get(name)
    if before is not None and before is not value:
        _replaced.append((owner, name, before))
        setattr(owner, name, value)
