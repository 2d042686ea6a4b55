"""Objects whose ``__init__`` was not called: an ``AttributeError``, as asyncio's, and nothing that waits for ever."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import ferrio
import ferrio.asyncio

LIMIT_S = 5.0

Use = Callable[[Any], Any]

#: What a program does first with an object of each class.
USES: dict[str, dict[str, Use]] = {
    "Lock": {
        "acquire": lambda lock: lock.acquire(),
        "enter": lambda lock: lock.__aenter__(),
        "exit": lambda lock: lock.__aexit__(None, None, None),
        "release": lambda lock: lock.release(),
        "locked": lambda lock: lock.locked(),
    },
    "Event": {
        "wait": lambda event: event.wait(),
        "set": lambda event: event.set(),
        "is_set": lambda event: event.is_set(),
    },
    "Condition": {
        "wait": lambda condition: condition.wait(),
        "enter": lambda condition: condition.__aenter__(),
        "notify": lambda condition: condition.notify(),
    },
    "Semaphore": {
        "acquire": lambda semaphore: semaphore.acquire(),
        "enter": lambda semaphore: semaphore.__aenter__(),
        "exit": lambda semaphore: semaphore.__aexit__(None, None, None),
        "release": lambda semaphore: semaphore.release(),
        "locked": lambda semaphore: semaphore.locked(),
    },
    "Queue": {
        "get": lambda queue: queue.get(),
        "put": lambda queue: queue.put(1),
        "get_nowait": lambda queue: queue.get_nowait(),
        "put_nowait": lambda queue: queue.put_nowait(1),
        "task_done": lambda queue: queue.task_done(),
        "join": lambda queue: queue.join(),
    },
    "Barrier": {"wait": lambda barrier: barrier.wait(), "enter": lambda barrier: barrier.__aenter__()},
    "TaskGroup": {"enter": lambda group: group.__aenter__()},
    "StreamReader": {
        "read": lambda reader: reader.read(1),
        "readline": lambda reader: reader.readline(),
        "readexactly": lambda reader: reader.readexactly(1),
    },
}


def made_by_new(cls: Any) -> Any:
    return cls.__new__(cls)


def made_by_a_class_that_forgets(cls: Any) -> Any:
    return type("Forgetful", (cls,), {"__init__": lambda self: None})()


async def used(made: Any, use: Use) -> BaseException | None:
    """What a use of the object raises."""
    try:
        result = use(made)
        if inspect.isawaitable(result):
            await asyncio.wait_for(result, LIMIT_S)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("make", [made_by_new, made_by_a_class_that_forgets])
@pytest.mark.parametrize(("name", "use"), [(name, use) for name, uses in USES.items() for use in uses])
def test_what_was_not_initialised_says_so(name: str, use: str, make: Callable[[Any], Any]) -> None:
    def outcome(runner: Callable[[Any], BaseException | None], namespace: Any) -> tuple[Any, ...]:
        error = runner(used(make(getattr(namespace, name)), USES[name][use]))
        return type(error), str(error)

    expected = outcome(asyncio.run, asyncio)
    assert expected[0] is AttributeError
    assert outcome(ferrio.run, ferrio.asyncio) == expected
