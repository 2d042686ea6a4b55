"""``Stall`` and ``Capture``: what is known of a callback that blocks a loop."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ._callers import is_a_loops

__all__ = ["Capture", "Place", "Stall", "beneath_the_loop"]


@dataclass(frozen=True)
class Place:
    """A function that the loop's thread was in."""

    file: str
    line: int
    """0: not known."""
    function: str
    """Its qualified name."""

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        return f'  File "{self.file}", line {self.line}, in {self.function}\n' + (f"    {source}\n" if source else "")


@dataclass(frozen=True)
class Capture:
    """One look at a stalled loop."""

    lasted_s: float
    """Seconds for which the callback was known to have lasted."""
    stack: tuple[Place, ...]
    """The functions that the loop's thread was in, the callback's own first, the blocking one last. Empty: the
    callback is not Python's, or its stack could not be read."""


@dataclass
class Stall:
    """A callback or a step of a task that blocked a loop for longer than it should.

    It is reported while it lasts; what comes later changes ``captures``, ``lasted_s``, ``is_over`` and ``times``.
    """

    lasted_s: float
    """Seconds for which it has lasted, as far as is known. The longest of equal stalls."""
    captures: list[Capture] = field(default_factory=list)
    """What was seen of it: when it was found, and when it had lasted for twice, four times, ... as long."""
    task: str | None = None
    """The name of the task that ran. None: none did, or it had ended by the time it could be asked."""
    coroutine: str | None = None
    """The qualified name of the task's coroutine."""
    context: Mapping[str, object] = field(default_factory=dict)
    """What the function given as ``context`` found in the context of the callback."""
    kept_interpreter: bool = False
    """The callback kept the interpreter (the GIL), so that the report had to wait until it let go."""
    is_over: bool = False
    """The callback has returned."""
    times: int = 1
    """How many stalls so far were equal to this one: with the same stack and the same coroutine."""

    @property
    def stack(self) -> tuple[Place, ...]:
        """The stack that was seen first."""
        return self.captures[0].stack if self.captures else ()

    def __str__(self) -> str:
        who = f"task {self.task!r}, {self.coroutine}" if self.task is not None else "a callback"
        lines = [f"The event loop has been blocked for {self.lasted_s:.3f} s by {who}"]
        if self.kept_interpreter:
            lines[0] += "; it kept the interpreter (the GIL)"
        lines += [f"  {name} = {value!r}" for name, value in self.context.items()]
        if self.stack:
            lines.append("Stack of the loop's thread (most recent call last):")
        return "\n".join(lines) + "\n" + "".join(map(str, self.stack))


def beneath_the_loop(places: Iterable[tuple[str, str, int]]) -> tuple[Place, ...]:
    """What a stack, the innermost function first, has beneath its innermost loop, the outermost function first."""
    inner = itertools.takewhile(lambda place: not is_a_loops(*place[:2]), places)
    return tuple(Place(file, line, function) for file, function, line in inner)[::-1]
