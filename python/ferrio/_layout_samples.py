"""Futures and tasks of asyncio's own, one for each thing that can be seen in the fields of their C structs.

The native half compares them with the layouts that it declares, when it is imported (``ffi/future/check.rs``,
``ffi/thread_state.rs``). They are made in a module, so that their code is compiled once and not at every start.

No object refers to a frame that made one of the others: once the names that a function returns are dropped, so are the
tasks.
"""

from __future__ import annotations

import contextvars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["of_a_running_task", "of_futures_and_tasks", "raised"]


class Loop:
    """What futures and tasks call while they are made and cancelled."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug

    def get_debug(self) -> bool:
        return self.debug

    def call_soon(self, *args: object, context: object = None) -> None:
        pass

    def call_exception_handler(self, context: object) -> None:
        pass


async def coroutine() -> None:
    pass


def raised() -> ValueError:
    """An exception with a traceback, whose frame keeps those alive that called it."""
    try:
        raise ValueError
    except ValueError as error:
        return error


def of_futures_and_tasks(Future: Any, Task: Any, error: ValueError) -> dict[str, Any]:
    """The samples, and what they were made with, by the names that they have here. *error* is of ``raised``."""
    loop = Loop(False)
    context = contextvars.copy_context()
    callback, value, message = object(), object(), object()
    traceback = error.__traceback__

    fresh = Future(loop=loop)
    traced = Future(loop=Loop(True))
    waited = Future(loop=loop)
    waited.add_done_callback(callback, context=context)
    waited.add_done_callback(callback, context=context)
    blocking = Future(loop=loop)
    blocking._asyncio_future_blocking = True
    done = Future(loop=loop)
    done.set_result(value)
    failed = Future(loop=loop)
    failed.set_exception(error)
    cancelled = Future(loop=loop)
    cancelled.cancel(message)

    name = "name of a task"
    body, other = coroutine(), coroutine()
    task = Task(body, loop=loop, name=name, context=context)
    doomed = Task(other, loop=loop, name=name, context=context)
    doomed.cancel(message)
    for each in (task, doomed):
        each._log_destroy_pending = False
    logging = Task(other, loop=loop, name=name)
    try:
        Task(other, loop=loop, name=name, context=value)._log_destroy_pending = False
        refused = False
    except TypeError:
        refused = True
    body.close()
    other.close()
    del Future, Task, each
    return locals()


def of_a_running_task(Task: Any) -> dict[str, Any]:
    """A task, and its loop, for a thread to enter."""
    loop, body = Loop(False), coroutine()
    task = Task(body, loop=loop, name="sample")
    task._log_destroy_pending = False
    body.close()
    return {"loop": loop, "task": task}
