"""``install`` and ``uninstall``: Ferrio's loop and primitives under asyncio's names, for programs that stay unedited.

asyncio's modules look up each other's names at run time, either in the module that defines them or in one that imports
them. A name is therefore replaced in every module of asyncio that holds the original object.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.unix_events
import sys
import threading
from types import ModuleType

from ._event_loop import Loop
from ._namespace import LOOPS, POLICIES, PRIMITIVES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_lock = threading.Lock()
_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Put Ferrio's loop and primitives under asyncio's names, in the whole process, until ``uninstall()``.

    ``asyncio.run``, ``Runner`` and ``new_event_loop`` then make Ferrio loops. Processes that ``multiprocessing`` starts
    meanwhile do the same. Existing objects and subclasses are not changed. A second call has no effect.
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
        _replace(_spawned.spawn, "get_preparation_data", _spawned.with_installation(prepare))


def uninstall() -> None:
    """Restore the names that ``install()`` replaced."""
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
