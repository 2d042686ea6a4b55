"""Copying and pickling primitives and native functions as asyncio's are copied and pickled.

The state of a primitive is the dictionary that asyncio's would have. A function is pickled by name: after
``install()`` by asyncio's name, under which an interpreter without Ferrio finds it too.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _State = dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any] | None] | None

__all__ = ["copied_by", "native_function", "native_functions", "reduced_function"]

#: Attributes that asyncio's primitives set only when they are first used.
_LATE = ("_loop", "_cancelling")

#: Ferrio's functions by the names of asyncio's that they replace; ``_namespace`` fills it, and the loop's raw sockets.
native_functions: dict[str, Any] = {}


def copied_by(*always: str) -> Callable[[type], type]:
    """Class decorator for a class of ``ferrio.asyncio`` with native state: instances are copied by these attributes."""
    late = tuple(name for name in _LATE if name not in always)
    known = frozenset((*always, *late))

    def __getstate__(self: Any) -> _State:
        values = {name: getattr(self, name) for name in always if hasattr(self, name)}
        for name in late:
            value = getattr(self, name, None)
            if value is not None:
                values[name] = value
        own: Any = object.__getstate__(self)  # type: ignore[attr-defined, unused-ignore]
        if isinstance(own, tuple):
            return {**values, **(own[0] or {})}, own[1]
        return {**values, **(own or {})}

    def __setstate__(self: Any, state: _State) -> None:
        values, slots = state if isinstance(state, tuple) else (state, None)
        for name, value in (values or {}).items():
            if name in known:
                setattr(self, name, value)
            else:
                self.__dict__[name] = value
        for name, value in (slots or {}).items():
            setattr(self, name, value)

    def decorate(cls: Any) -> Any:
        cls.__module__ = "ferrio.asyncio"
        cls.__reduce_ex__ = _reduce
        cls.__getstate__ = __getstate__
        cls.__setstate__ = __setstate__
        return cls

    return decorate


def _reduce(self: Any, protocol: int, /) -> str | tuple[Any, ...]:
    """``__reduce_ex__`` of a class with native state, which pickle protocols 0 and 1 cannot express."""
    return object.__reduce_ex__(self, max(protocol, 2))


def reduced_function(function: Any, owner: type | None, name: str) -> str | tuple[Any, ...]:
    """``__reduce__`` of a native function.

    Args:
        owner: The class of a method; None for a function of a module.
        name: The function's key in ``native_functions``.
    """
    module = sys.modules.get(function.__module__)
    try:
        found = operator.attrgetter(function.__qualname__)(module)
    except AttributeError:
        found = None
    if found is function:
        return str(function.__qualname__)
    if owner is not None:
        return getattr, (owner, function.__name__)
    return native_function, (name,)


def native_function(name: str) -> Any:
    """Ferrio's function in place of asyncio's function *name*: what a pickle of one calls."""
    if name not in native_functions:
        # What names it imports this module.
        importlib.import_module("ferrio._namespace")
    return native_functions[name]
