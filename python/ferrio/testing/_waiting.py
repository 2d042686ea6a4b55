"""What the tasks of a loop wait for, in words."""

from __future__ import annotations

import asyncio
import os
from typing import Any

__all__ = ["describe_tasks"]


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """A line for each pending task of *loop*: its name, where it waits, and for what."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    if not tasks:
        return "  (no task is pending)"
    return "\n".join(f"  {describe_task(task)}" for task in tasks)


def describe_task(task: asyncio.Task[Any]) -> str:
    """A task's name, the innermost line of its program that waits, and for what."""
    coroutine: Any = task.get_coro()
    text = f"{task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)}"
    place, waits_for = None, None
    while coroutine is not None:
        frame = _frame(coroutine)
        if frame is not None and not _is_of_asyncio(frame.f_code.co_filename):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            waits_for = None
        elif waits_for is None:
            waits_for = getattr(coroutine, "__qualname__", None)
        coroutine = next(
            (getattr(coroutine, name) for name in ("cr_await", "gi_yieldfrom", "ag_await") if hasattr(coroutine, name)),
            None,
        )
    if place is not None:
        text += f", at {place}"
    waiter = waits_for or getattr(task, "_fut_waiter", None)
    return text if waiter is None else f"{text}, waits for {waiter}"


def _frame(coroutine: Any) -> Any:
    return next(
        (getattr(coroutine, name) for name in ("cr_frame", "gi_frame", "ag_frame") if hasattr(coroutine, name)), None
    )


def _is_of_asyncio(filename: str) -> bool:
    folder = os.path.dirname(filename)
    return folder == os.path.dirname(asyncio.__file__)
