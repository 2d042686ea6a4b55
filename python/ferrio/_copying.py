"""Copies and pickles of primitives and functions: as asyncio's.

A primitive's state is what asyncio's would have in its dictionary, under the same names. A function is known by its
name: asyncio's, where that means the function (after ``install()``), so that any interpreter can read it.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["copied_as", "native_function", "native_functions", "reduce", "reduced_function"]

#: What asyncio's primitives have in their dictionaries only from some moment on.
_LATE = ("_loop", "_cancelling")

#: Ferrio's functions by the names of asyncio's that they replace; ``_namespace`` fills it.
native_functions: dict[str, Any] = {}

_State = dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any] | None] | None


def copied_as(original: object) -> tuple[Callable[[Any], _State], Callable[[Any, _State], None]]:
    """``__getstate__`` and ``__setstate__`` of a class with native state in place of the dictionary of *original*."""
    always = tuple(vars(original))
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

    return __getstate__, __setstate__


def reduce(self: Any, protocol: int, /) -> str | tuple[Any, ...]:
    """``__reduce_ex__`` of a class with native state, for which the first two protocols have no form of their own."""
    return object.__reduce_ex__(self, max(protocol, 2))


def reduced_function(function: Any, owner: type | None, name: str) -> str | tuple[Any, ...]:
    """How a native function is pickled: the one called *name* in Ferrio's list, of the class *owner* or of a module."""
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
    return native_functions[name]
