"""For tests of functions over awaitables: the namespace under test, and coroutines that end in every way."""

import asyncio
import asyncio as stdlib
from typing import Any

import ferrio.asyncio

from .loops import NAME

#: ``ferrio.asyncio``; in the control run ``asyncio``.
ours: Any = ferrio.asyncio if NAME == "ferrio" else stdlib


async def value(result: Any, turns: int = 0) -> Any:
    for _ in range(turns):
        await stdlib.sleep(0)
    return result


async def failure(text: str, turns: int = 0) -> Any:
    await value(None, turns)
    raise LookupError(text)


async def cancelled(text: str) -> Any:
    stdlib.current_task().cancel(text)  # type: ignore[union-attr]
    await stdlib.sleep(0)


def listed_by_a_task_factory(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Install a factory that makes asyncio's tasks, and return the list of the tasks that it makes."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        made.append(stdlib.Task(coroutine, loop=loop, **kwargs))
        return made[-1]

    loop.set_task_factory(factory)
    return made


def failed_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
    """A task that asyncio's own code completes, unknown to Ferrio, while it waits."""

    async def wait() -> None:
        await loop.create_future()

    task = loop.create_task(wait())
    base = next(each for each in type(task).__mro__ if each.__module__ == "_asyncio" and each.__name__ == "Future")
    loop.call_later(0.001, base.set_exception, task, LookupError("from outside"))  # type: ignore[attr-defined]
    return task
