"""Pictures of the process's loops: what each is at, its counters, its tasks and what they wait for.

The picture is plain data, fit for JSON. A place is ``[file, function, line]``; stacks have the outermost function
first. A loop is asked in its own thread, between two callbacks. One that does not answer in time is blocked: it is
looked at from the outside, and what blocks it is part of the picture.

A summary has numbers in place of the single tasks, so that it can be asked for every second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from . import _ferrio
from ._fork import open_loops
from ._stalls import Place, beneath_the_loop

if TYPE_CHECKING:
    from ._base_loop import BaseLoop

__all__ = ["as_text", "picture", "summary"]

#: Coroutines that await one another in one task, as far as they are shown.
LONGEST_CHAIN = 100

#: Statistics of what a loop has at the moment.
NOW = frozenset(
    {"ready", "timers", "watched", "connections", "queued_bytes", "tasks", "executor_queue", "executor_busy"}
)

#: Tasks that a summary looks at; of others, it has the number.
MOST_TASKS = 500

#: Groups of equal tasks in a summary, and stalls.
MOST_GROUPS = 50
MOST_STALLS = 5


def picture(patience_s: float) -> dict[str, Any]:
    """The process and its loops.

    Args:
        patience_s: Seconds for which a running loop may take to answer; 0: it is not asked. The loop of the calling
            thread never is.
    """
    return _process() | {"loops": [_loop(cast("BaseLoop", loop), patience_s, _tasks) for loop in open_loops()]}


def summary(patience_s: float) -> dict[str, Any]:
    """The process and its loops, with numbers in place of the single tasks. *patience_s*: as for ``picture()``."""
    loops = [cast("BaseLoop", loop) for loop in open_loops()]
    return _process() | {"loops": [_loop(loop, patience_s, _groups) | _measured(loop) for loop in loops]}


def _process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "program": sys.argv,
        "python": sys.version.partition(" ")[0],
        "ferrio": _ferrio.__version__,
    }


def _loop(loop: BaseLoop, patience_s: float, look: Callable[[BaseLoop], dict[str, Any]]) -> dict[str, Any]:
    if patience_s and loop.is_running() and loop._thread_id != threading.get_ident():
        found: list[dict[str, Any]] = []
        has_answered = threading.Event()

        def answer() -> None:
            found.append(look(loop))
            has_answered.set()

        try:
            loop.call_soon_threadsafe(answer)
            has_answered.wait(patience_s)
        except RuntimeError:
            # Closed by now.
            pass
        if found:
            return _about(loop) | {"stack": None} | found[0]
    places = loop._stack()
    stack = None
    if places is not None:
        stack = [[place.file, place.function, place.line] for place in beneath_the_loop(_without_own(places))]
    return _about(loop) | {"stack": stack} | look(loop)


def _without_own(places: Iterable[tuple[str, str, int]]) -> Iterator[tuple[str, str, int]]:
    """A stack without the functions of this module and those that have called it from the program's code."""
    folder = os.path.dirname(__file__)
    own = {os.path.join(folder, name) for name in ("_picture.py", "inspect.py")}
    return (place for place in places if place[0] not in own)


def _about(loop: BaseLoop) -> dict[str, Any]:
    statistics: Any = loop.statistics()  # type: ignore[attr-defined]
    return {
        "loop": f"{type(loop).__module__}.{type(loop).__qualname__} at {id(loop):#x}",
        "is_running": loop.is_running(),
        "thread": loop._thread_id,
        "statistics": statistics._asdict(),
    }


def _tasks(loop: BaseLoop) -> dict[str, Any]:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    numbers = {task: number for number, task in enumerate(tasks)}
    awaited: dict[int, list[int]] = {number: [] for number in range(len(tasks))}
    for task in tasks:
        for inner in _awaited_by(task, numbers):
            if numbers[inner] not in awaited[numbers[task]]:
                awaited[numbers[task]].append(numbers[inner])
        for outer in getattr(task, "_asyncio_awaited_by", None) or ():
            if outer in numbers and numbers[task] not in awaited[numbers[outer]]:
                awaited[numbers[outer]].append(numbers[task])
    current = asyncio.current_task(loop)
    return {
        "tasks": [
            {
                "name": task.get_name(),
                "coroutine": _name(task.get_coro()),
                "is_current": task is current,
                "stack": _chain(task.get_coro()),
                "waits_for": _waits_for(task),
                "awaits": awaited[numbers[task]],
            }
            for task in tasks
        ]
    }


def _groups(loop: BaseLoop) -> dict[str, Any]:
    """How many tasks there are, and how many of them are alike: have the same coroutine and wait at the same place."""
    tasks = asyncio.all_tasks(loop)
    groups: Counter[tuple[str, str | None, tuple[Any, ...] | None]] = Counter()
    for task in islice(tasks, MOST_TASKS):
        waits_for: Any = getattr(task, "_fut_waiter", None)
        if isinstance(waits_for, asyncio.Task):
            kind: str | None = f"a task, {_name(waits_for.get_coro())}"
        else:
            kind = None if waits_for is None else type(waits_for).__qualname__
        chain = _chain(task.get_coro())
        groups[_name(task.get_coro()), kind, tuple(chain[-1]) if chain else None] += 1
    return {
        "task_count": len(tasks),
        "tasks_looked_at": min(len(tasks), MOST_TASKS),
        "groups": [
            {"count": count, "coroutine": coroutine, "waits_for": kind, "place": place and list(place)}
            for (coroutine, kind, place), count in groups.most_common(MOST_GROUPS)
        ],
    }


def _measured(loop: BaseLoop) -> dict[str, Any]:
    """What the loop has counted and measured, and the stalls that somebody who watches it has seen."""
    own: Any = loop
    stalls = () if own._watch is None else own._watch.stalls[-MOST_STALLS:]
    return {
        "histograms": {name: [*times.counts, times.sum_s] for name, times in own.histograms()._asdict().items()},
        "coroutines": {name: list(cost) for name, cost in own.coroutine_costs().items()},
        "stalls": [
            {
                "lasted_s": stall.lasted_s,
                "times": stall.times,
                "is_over": stall.is_over,
                "coroutine": stall.coroutine,
                "place": [stall.stack[-1].file, stall.stack[-1].function, stall.stack[-1].line]
                if stall.stack
                else None,
            }
            for stall in stalls
        ],
    }


def _awaited_by(task: asyncio.Task[Any], tasks: dict[asyncio.Task[Any], int]) -> list[asyncio.Task[Any]]:
    """The tasks among *tasks* that *task* waits for: one itself, or those that it gathers."""
    future = getattr(task, "_fut_waiter", None)
    return [each for each in (future, *(getattr(future, "_children", None) or ())) if each in tasks]


def _waits_for(task: asyncio.Task[Any]) -> str | None:
    future = getattr(task, "_fut_waiter", None)
    if future is None:
        return None
    if isinstance(future, asyncio.Task):
        return f"task {future.get_name()!r}"
    return type(future).__qualname__


def _name(coroutine: Any) -> str:
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__


def _chain(coroutine: Any) -> list[list[Any]]:
    """Where a coroutine is, and those that it awaits in turn."""
    found: list[list[Any]] = []
    while coroutine is not None and len(found) < LONGEST_CHAIN:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(coroutine, f"{kind}_frame")), None)
        if kind is None:
            break
        frame = getattr(coroutine, f"{kind}_frame")
        if frame is not None:
            code = frame.f_code
            found.append([code.co_filename, code.co_qualname, frame.f_lineno or 0])
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return found


# --- as text ---------------------------------------------------------------------------------------------------------


def as_text(picture: dict[str, Any]) -> str:
    """A picture for people to read."""
    program = " ".join(picture.get("program", ()))
    lines = [f"process {picture['pid']}: {program}" if program else f"process {picture['pid']}"]
    if "python" in picture:
        lines.append(f"CPython {picture['python']}, Ferrio {picture['ferrio']}")
    if picture.get("keeps_interpreter"):
        lines.append("The interpreter (the GIL) is kept by a function in C: nothing but stacks can be seen.")
    if "error" in picture:
        lines.append(f"The process cannot say more: {picture['error']}")
    for loop in picture["loops"]:
        lines += ["", *_loop_as_text(loop)]
    return "\n".join(lines) + "\n"


def _loop_as_text(loop: dict[str, Any]) -> Iterator[str]:
    if loop["stack"] is not None:
        state = "is in a callback"
    else:
        state = "is running" if loop["is_running"] else "is not running"
    yield f"loop {loop.get('loop', '')} {state}".replace("  ", " ")
    if loop["stack"]:
        yield "  stack (most recent call last):"
        for file, function, line in loop["stack"]:
            yield from ("  " + text for text in str(Place(file, line, function)).rstrip("\n").split("\n"))
    if "statistics" in loop:
        figures = {
            name: f"{name} {value:.6f} s" if isinstance(value, float) else f"{name} {value}"
            for name, value in loop["statistics"].items()
        }
        yield "  " + ", ".join(text for name, text in figures.items() if name not in NOW)
        yield "  now: " + ", ".join(text for name, text in figures.items() if name in NOW)
    tasks = loop.get("tasks")
    if tasks is None:
        return
    yield f"  tasks: {len(tasks)}"
    inner = {number for task in tasks for number in task["awaits"]}
    shown: set[int] = set()
    # Those in a circle, which nobody outside awaits, come last.
    for number in [*(set(range(len(tasks))) - inner), *inner]:
        yield from _task_as_text(tasks, number, 2, shown)


def _task_as_text(tasks: list[dict[str, Any]], number: int, depth: int, shown: set[int]) -> Iterator[str]:
    if number in shown:
        return
    shown.add(number)
    task = tasks[number]
    state = "is running" if task["is_current"] else f"waits for {task['waits_for']}"
    if not task["is_current"] and task["waits_for"] is None:
        state = "is ready"
    where = ""
    if task["stack"]:
        file, function, line = task["stack"][-1]
        where = f', in {function}, "{file}", line {line}'
    yield f"{'  ' * depth}{task['name']}: {task['coroutine']} {state}{where}"
    for inner in task["awaits"]:
        yield from _task_as_text(tasks, inner, depth + 1, shown)
