"""Runs within a run: ``run_until_complete`` of a loop that is running, where the program has asked for it.

A loop of ``new_event_loop(nested=True)`` has the function here as its ``run_until_complete``. Called from a callback or
a task of the loop, it turns the loop until the future is done. Other callbacks and tasks go on meanwhile; the one that
called it does not, and its task is not the current one.

``stop()`` is for the outermost run, and takes effect when the runs within have ended: else the end of an outer future
would take their results away.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
import weakref
from collections.abc import Awaitable, Coroutine

from ._event_loop.running import turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from ._event_loop import Loop

    T = TypeVar("T")

__all__ = ["let_nest", "nests", "run_within"]


def let_nest(loop: Loop) -> None:
    """Let ``loop.run_until_complete`` be called while *loop* runs."""
    loop.run_until_complete = types.MethodType(_run_until_complete, loop)  # type: ignore[method-assign]


def nests(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether *loop* can be run within a run: by ``let_nest``, or by ``nest_asyncio``, which marks it so."""
    own = vars(loop).get("run_until_complete") if hasattr(loop, "__dict__") else None
    return getattr(own, "__func__", None) is _run_until_complete or hasattr(loop, "_nest_patched")


def run_within(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T], *, debug: bool | None) -> T:
    """``run(main)`` where *loop*, which nests, is running. When it is interrupted, *main* is cancelled.

    Raises:
        TypeError: *main* is no coroutine.
    """
    if not asyncio.iscoroutine(main):
        raise TypeError(f"a coroutine was expected, got {main!r}")
    before = loop.get_debug()
    if debug is not None:
        loop.set_debug(debug)
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.set_debug(before)


def _run_until_complete(loop: Loop, future: Awaitable[T]) -> T:
    """Run until *future* is done, also while the loop is running, in its thread.

    Raises:
        RuntimeError: The loop is closed, runs in another thread, or another loop runs in this one; or it was stopped.
    """
    if asyncio.events._get_running_loop() is not loop:
        return type(loop).run_until_complete(loop, future)
    is_new = not asyncio.isfuture(future)
    task: Any = asyncio.ensure_future(future, loop=loop)
    if is_new:
        # What goes wrong is raised here.
        task._log_destroy_pending = False
    reference = weakref.ref(loop)
    is_stopped = loop._stopping
    try:
        while not task.done():
            # One that is stopping does not sleep.
            loop._stopping = False
            turn(reference)  # type: ignore[arg-type]  # BaseLoop stands for it in the type stubs
            is_stopped = is_stopped or loop._stopping
    except BaseException:
        if is_new and task.done() and not task.cancelled():
            # Nobody else can ask for it, who would be warned.
            task.exception()
        raise
    finally:
        loop._stopping = is_stopped
    result: T = task.result()
    return result
