"""``gather``, ``wait``, ``as_completed``, ``shield``: asyncio's, with native callbacks for what they wait for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _ferrio

__all__ = ["as_completed", "gather", "shield", "wait"]

#: What ``wait`` hands unusual calls on to, which show only when it is awaited.
asyncios_wait = asyncio.wait
#: What ``as_completed`` hands a set on to that has something unusual in it.
asyncios_as_completed = asyncio.as_completed


def _codes(function: Any) -> dict[str, CodeType]:
    """The functions that stand within *function*, by name."""
    return {code.co_name: code for code in function.__code__.co_consts if isinstance(code, CodeType)}


def _inner(function: Any, name: str) -> Any:
    """The function *name* that stands within *function*, for its place in the source alone."""
    code = _codes(function).get(name)
    if code is None:
        return None
    return staticmethod(FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars)))


class ShieldRules(NamedTuple):
    """What asyncio's ``shield`` does when the future that it has returned is cancelled."""

    #: The exception of the future behind it counts as retrieved.
    retrieves: bool
    #: The call graph forgets at once who waited.
    forgets: bool
    #: A callback that the future behind it gets, to report its exception.
    reporter: Callable[[asyncio.Future[Any]], object] | None


class _Stand:
    """Stands for a future, and notes whether somebody has asked for its exception."""

    def __init__(self, *, cancelled: bool) -> None:
        self._cancelled = cancelled
        self.was_asked = False

    def cancelled(self) -> bool:
        return self._cancelled

    def exception(self) -> None:
        self.was_asked = True


def _shield_rules() -> ShieldRules | None:
    """The rules of the running interpreter's ``shield``; ``None`` when it is written in a way not known here."""
    codes = _codes(asyncio.shield)
    expected = {"_inner_done_callback", "_outer_done_callback"}
    if sys.version_info >= (3, 14):
        expected.add("_clear_awaited_by_callback")
    if codes.keys() != expected:
        return None
    inner, outer = codes["_inner_done_callback"], codes["_outer_done_callback"]
    known = {"done", "remove_done_callback", "add_done_callback", "_log_on_exception"}
    known |= {"futures", "future_discard_from_awaited_by"}
    if inner.co_freevars != ("outer",) or inner.co_argcount != 1 or not known.issuperset(outer.co_names):
        return None
    future = _Stand(cancelled=False)
    FunctionType(inner, {}, closure=(CellType(_Stand(cancelled=True)),))(future)
    reports = "_log_on_exception" in outer.co_names
    return ShieldRules(
        retrieves=future.was_asked,
        forgets="future_discard_from_awaited_by" in outer.co_names,
        reporter=asyncio.tasks._log_on_exception if reports else None,  # type: ignore[attr-defined]
    )


#: ``None``: ``shield`` is asyncio's own.
SHIELD_RULES = _shield_rules()
#: Whether a wait of ``as_completed`` that was cancelled leaves what it would have got to another.
GIVES_BACK = False

if TYPE_CHECKING:
    from asyncio import as_completed, gather, shield, wait
else:
    gather = _ferrio.Function("gather", asyncio.gather)
    wait = _ferrio.CoroutineFunction("wait", asyncio.wait)
    shield = asyncio.shield if SHIELD_RULES is None else _ferrio.Function("shield", asyncio.shield)

    if sys.version_info >= (3, 13):
        GIVES_BACK = "_todo_left" in asyncio.tasks._AsCompletedIterator._wait_for_one.__code__.co_names
        as_completed = _ferrio.Function("as_completed", asyncio.as_completed)
    else:
        # A generator function, of which nothing runs before its first step.
        from asyncio import as_completed

# How a future shows the callbacks: as asyncio's, which they stand for.
_ferrio.GatherCallback.__wrapped__ = _inner(asyncio.gather, "_done_callback")
_ferrio.WaitCallback.__wrapped__ = _inner(asyncio.tasks._wait, "_on_completion")  # type: ignore[attr-defined]
_ferrio.InnerCallback.__wrapped__ = _inner(asyncio.shield, "_inner_done_callback")
_ferrio.OuterCallback.__wrapped__ = _inner(asyncio.shield, "_outer_done_callback")
_ferrio.AwaiterCallback.__wrapped__ = _inner(asyncio.shield, "_clear_awaited_by_callback")
