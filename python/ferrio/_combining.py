"""``gather``: asyncio's, with one native callback for all that it waits for."""

from __future__ import annotations

import asyncio
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from . import _ferrio

__all__ = ["gather"]


def _inner(function: Any, name: str) -> Any:
    """The function *name* that stands within *function*, for its place in the source alone."""
    for code in function.__code__.co_consts:
        if isinstance(code, CodeType) and code.co_name == name:
            return staticmethod(FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars)))
    return None


if TYPE_CHECKING:
    from asyncio import gather
else:
    gather = _ferrio.Function("gather", asyncio.gather)

# How a future shows the callback: as asyncio's, which it stands for.
_ferrio.Gathering.__wrapped__ = _inner(asyncio.gather, "_done_callback")
