"""``gather``, ``wait``: asyncio's, with one native callback for all that they wait for."""

from __future__ import annotations

import asyncio
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from . import _ferrio

__all__ = ["gather", "wait"]

#: What ``wait`` hands unusual calls on to, which show only when it is awaited.
asyncios_wait = asyncio.wait


def _inner(function: Any, name: str) -> Any:
    """The function *name* that stands within *function*, for its place in the source alone."""
    for code in function.__code__.co_consts:
        if isinstance(code, CodeType) and code.co_name == name:
            return staticmethod(FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars)))
    return None


if TYPE_CHECKING:
    from asyncio import gather, wait
else:
    gather = _ferrio.Function("gather", asyncio.gather)
    wait = _ferrio.CoroutineFunction("wait", asyncio.wait)

# How a future shows the callbacks: as asyncio's, which they stand for.
_ferrio.Gathering.__wrapped__ = _inner(asyncio.gather, "_done_callback")
_ferrio.Waiting.__wrapped__ = _inner(asyncio.tasks._wait, "_on_completion")  # type: ignore[attr-defined]
