"""``gather``, ``wait``, ``as_completed``, ``shield``: native functions, with native callbacks on the futures."""

from __future__ import annotations

import asyncio
import sys
from types import CellType, CodeType, FunctionType, SimpleNamespace

from . import _ferrio
from ._asyncio_internals import tasks

__all__ = ["as_completed", "gather", "shield", "wait"]

#: Runs the unusual calls of the native ``wait``, which are recognised only when it is awaited.
asyncios_wait = asyncio.wait
#: Runs the calls of the native ``as_completed`` with unusual awaitables.
asyncios_as_completed = asyncio.as_completed


def _codes(function: Any) -> dict[str, CodeType]:
    """The code of the functions that are defined in *function*, by name."""
    return {code.co_name: code for code in function.__code__.co_consts if isinstance(code, CodeType)}


def _inner(function: Any, name: str) -> Any:
    """A function with the code of *name*, which is defined in *function*: never called, it only shows its location."""
    code = _codes(function).get(name)
    if code is None:
        return None
    return staticmethod(FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars)))


class _FakeFuture:
    """A future that records whether its exception was retrieved."""

    def __init__(self, *, cancelled: bool) -> None:
        self._cancelled = cancelled
        self.was_retrieved = False

    def cancelled(self) -> bool:
        return self._cancelled

    def exception(self) -> None:
        self.was_retrieved = True


def _shield_rules() -> SimpleNamespace | None:
    """What asyncio's ``shield`` does when the future that it returned, the outer one, is cancelled.

    ``None`` if the running interpreter's code is not one of those known here.
    """
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
    future = _FakeFuture(cancelled=False)
    FunctionType(inner, {}, closure=(CellType(_FakeFuture(cancelled=True)),))(future)
    reports = "_log_on_exception" in outer.co_names
    return SimpleNamespace(
        # Whether the exception of the inner future then counts as retrieved.
        retrieves=future.was_retrieved,
        # Whether the inner future leaves the call graph of the outer one at once.
        forgets="future_discard_from_awaited_by" in outer.co_names,
        # The callback that is added to the inner future to report its exception, if any.
        reporter=tasks._log_on_exception if reports else None,
    )


#: If ``None``, ``shield`` is asyncio's own.
SHIELD_RULES = _shield_rules()
#: Whether a cancelled wait of ``as_completed`` leaves its result to the next wait.
GIVES_BACK = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import as_completed, gather, shield, wait
    from typing import Any
else:
    gather = _ferrio.Function("gather", asyncio.gather)
    wait = _ferrio.CoroutineFunction("wait", asyncio.wait)
    shield = asyncio.shield if SHIELD_RULES is None else _ferrio.Function("shield", asyncio.shield)

    if sys.version_info >= (3, 13):
        GIVES_BACK = "_todo_left" in tasks._AsCompletedIterator._wait_for_one.__code__.co_names
        as_completed = _ferrio.Function("as_completed", asyncio.as_completed)
    else:
        # Until 3.12 a generator function, whose checks run at the first step; it stays asyncio's.
        from asyncio import as_completed

# A future's repr shows these callbacks as the asyncio functions that they replace.
_ferrio.GatherCallback.__wrapped__ = _inner(asyncio.gather, "_done_callback")
_ferrio.WaitCallback.__wrapped__ = _inner(tasks._wait, "_on_completion")
_ferrio.InnerCallback.__wrapped__ = _inner(asyncio.shield, "_inner_done_callback")
_ferrio.OuterCallback.__wrapped__ = _inner(asyncio.shield, "_outer_done_callback")
_ferrio.AwaiterCallback.__wrapped__ = _inner(asyncio.shield, "_clear_awaited_by_callback")
