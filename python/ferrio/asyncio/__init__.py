"""asyncio's whole namespace with Ferrio's objects in it: ``import ferrio.asyncio as asyncio``.

``run``, ``Runner``, ``new_event_loop`` and the loop classes are Ferrio's; so are the primitives that
``ferrio._namespace`` lists. Every other name is asyncio's own object, submodules and deprecated names included. Nothing
outside this package changes.
"""

import asyncio as _original
import importlib as _importlib
import sys as _sys
import types as _types
from asyncio import *  # noqa: F403 - the namespace is asyncio's
from typing import Any as _Any

from .._event_loop import Loop as _Loop
from .._namespace import LOOPS as _LOOPS
from .._namespace import PRIMITIVES as _PRIMITIVES
from .._running import Runner, new_event_loop, run

_ours: dict[str, _Any] = {"Runner": Runner, "new_event_loop": new_event_loop, "run": run}
_ours.update(dict.fromkeys(_LOOPS, _Loop))
_ours.update({primitive.name: primitive.ours for primitive in _PRIMITIVES})

if _sys.version_info < (3, 16):
    from .._policy import EventLoopPolicy as _EventLoopPolicy

    # Deprecated from 3.14 on, and looked up below.
    _is_deprecated = "DefaultEventLoopPolicy" not in vars(_original)
    _ours["_DefaultEventLoopPolicy" if _is_deprecated else "DefaultEventLoopPolicy"] = _EventLoopPolicy

__all__ = tuple(_original.__all__)  # type: ignore[attr-defined]  # the type stubs have none


class _Submodule(_types.ModuleType):
    """One of asyncio's modules, with Ferrio's objects in place of those that they replace."""

    def __init__(self, original: _types.ModuleType, ours: dict[str, _Any]) -> None:
        super().__init__(f"ferrio.{original.__name__}", original.__doc__)
        self.__dict__.update(ours, _original=original)

    def __getattr__(self, name: str) -> _Any:
        return getattr(self.__dict__["_original"], name)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_original"])


def _submodules() -> dict[str, _types.ModuleType]:
    found: dict[str, _types.ModuleType] = {}
    for qualified, module in list(_sys.modules.items()):
        package, _, name = qualified.rpartition(".")
        if package == "asyncio" and name != "__main__":
            ours = {key: value for key, value in _ours.items() if key in vars(module)}
            found[name] = _Submodule(module, ours) if ours else module
    return found


def __getattr__(name: str) -> _Any:
    try:
        found = getattr(_original, name)
        return _ours.get(f"_{name}", found)
    except AttributeError:
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        try:
            # A submodule that ``import asyncio`` does not import.
            return _importlib.import_module(f"asyncio.{name}")
        except ModuleNotFoundError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*dir(_original), *_ours})


globals().update(_ours)
for _name, _module in _submodules().items():
    globals()[_name] = _module
    # For ``import ferrio.asyncio.queues``.
    _sys.modules[f"{__name__}.{_name}"] = _module
del _name, _module
