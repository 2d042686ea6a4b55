"""Futures and tasks."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import ferrio
import ferrio.asyncio

from ...loops import turn
from .kinds import KINDS, Kind, World, changed, having, nothing


def future(world: World) -> Any:
    """A pending future."""
    return world.loop.create_future()


def fail_with(future: Any, token: Any) -> None:
    """An exception that refers to *token* and counts as retrieved."""
    error = ValueError()
    error.token = token  # type: ignore[attr-defined]
    future.set_exception(error)
    future.exception()


def add_callbacks(future: Any, token: Any) -> None:
    """Add two callbacks: the first is stored apart from the others."""
    future.add_done_callback(nothing)
    future.add_done_callback(token)


KINDS["Future"] = Kind(
    make=future,
    ways={
        "dictionary": having(future),
        "result": changed(future, lambda future, token: future.set_result(token)),
        "exception": changed(future, fail_with),
        "callback": changed(future, lambda future, token: future.add_done_callback(token)),
        "second callback": changed(future, add_callbacks),
        "message": changed(future, lambda future, token: future.cancel(token)),
    },
    attributes=frozenset({"_cancel_message"}),
)


def future_iterator(world: World, token: Any = None) -> Any:
    """What awaits a future, which it has handed out."""
    awaited: Any = future(world)
    awaited.token = token
    iterator = awaited.__await__()
    assert next(iterator) is awaited
    return iterator


KINDS["FutureIter"] = Kind(make=future_iterator, ways={"future": future_iterator})


def task(world: World, coroutine: Coroutine[Any, Any, Any] | None = None, **options: Any) -> Any:
    """A started task whose completion is reported to nobody."""
    made = world.loop.create_task(wait(world.loop.create_future()) if coroutine is None else coroutine, **options)
    made._log_destroy_pending = False
    turn(world.loop, 2)
    return made


async def wait(awaitable: Any, *_kept: Any) -> Any:
    """A coroutine that waits."""
    return await awaitable


async def come_to(value: Any) -> Any:
    """A coroutine that ends."""
    return value


async def fail(token: Any) -> None:
    """A coroutine that raises."""
    error = ValueError()
    error.token = token  # type: ignore[attr-defined]
    raise error


def failed_task(world: World, token: Any) -> Any:
    """A task whose exception counts as retrieved."""
    made = task(world, fail(token))
    made.exception()
    return made


def task_in_context(world: World, token: Any) -> Any:
    """A task that waits in its own context."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    context = contextvars.Context()
    context.run(variable.set, token)
    return task(world, context=context)


def task_that_cannot_begin(world: World, token: Any) -> Any:
    """A task whose context is already entered when its first step is due."""
    context = contextvars.copy_context()

    async def main() -> Any:
        made = world.loop.create_task(wait(token), context=context)
        made._log_destroy_pending = False
        await asyncio.sleep(0)
        return made

    return context.run(world.loop.run_until_complete, main())


def task_of_a_future(world: World, token: Any) -> Any:
    """A task that waits for a future which refers to *token*."""
    awaited = world.loop.create_future()
    awaited.token = token
    return task(world, wait(awaited))


def task_before_its_step(_world: World, token: Any) -> Any:
    """A task with a step due, made by the last callback of a loop that is now closed and so does not hold it."""
    loop = ferrio.new_event_loop()
    made = []

    def begin() -> None:
        made.append(loop.create_task(wait(token)))
        made[0]._log_destroy_pending = False
        loop.stop()

    loop.call_soon(begin)
    loop.run_forever()
    loop.close()
    return made.pop()


KINDS["Task"] = Kind(
    make=task,
    ways={
        "dictionary": having(task),
        "coroutine": lambda world, token: task(world, wait(world.loop.create_future(), token)),
        "result": lambda world, token: task(world, come_to(token)),
        "exception": failed_task,
        "context": task_in_context,
        "callback": changed(task, lambda task, token: task.add_done_callback(token)),
        "second callback": changed(task, add_callbacks),
        "message": changed(task, lambda task, token: task.cancel(token)),
        "awaited future": task_of_a_future,
        "a step that cannot begin": task_that_cannot_begin,
        "a step that has not begun": task_before_its_step,
    },
    attributes=frozenset({"_cancel_message"}),
)
