"""The functions that run a loop's callbacks: what is beneath one of them on a stack is a callback's."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

__all__ = ["is_a_loops", "runs_a_loop"]

# Files and qualified names.
_loops: set[tuple[str, str]] = set()


def runs_a_loop(function: Callable[..., object]) -> None:
    """Note that what is beneath *function* on a stack is a loop's callback."""
    code: CodeType = function.__code__
    _loops.add((code.co_filename, code.co_qualname))


def is_a_loops(file: str, function: str) -> bool:
    """Whether the function of this file and qualified name has been noted."""
    return (file, function) in _loops
