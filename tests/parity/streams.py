"""Streams of any namespace: what a reading came to, and readings that go on beside a scenario.

asyncio's own namespace on asyncio's loop is the oracle; the same on Ferrio's loop, and ``ferrio.asyncio``, must show
what it shows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import ModuleType
from typing import Any

import ferrio
import ferrio.asyncio

from .conftest import NAME, NEW_LOOP
from .observation import Diary, Observation, described, in_words, observe

#: A scenario that takes the module which stands for asyncio.
StreamScenario = Callable[[Diary, Any], Coroutine[Any, Any, Any]]
Played = Callable[[StreamScenario], Observation]

#: Stock asyncio classes over the loop under test, and Ferrio's namespace over it.
NAMESPACES: dict[str, ModuleType] = {"asyncio": asyncio, "ferrio.asyncio": ferrio.asyncio}


def under_test(name: str) -> ModuleType:
    """The namespace; in the control run asyncio's own, whatever the name."""
    return asyncio if NAME == "asyncio" else NAMESPACES[name]


def same_in(namespace: ModuleType, scenario: StreamScenario) -> Observation:
    """Return the observation on asyncio's loop; fail if that with *namespace* on the loop under test differs."""
    expected = observe(lambda diary: scenario(diary, asyncio), asyncio.SelectorEventLoop)
    actual = observe(lambda diary: scenario(diary, namespace), NEW_LOOP)
    for name, value in vars(expected).items():
        assert getattr(actual, name) == value, f"{name}: {namespace.__name__} on {NAME} (left) is not asyncio (right)"
    return expected


def outcome(error: BaseException) -> dict[str, Any]:
    """Describe an exception, with what those of streams tell besides their arguments."""
    told = {name: getattr(error, name) for name in ("partial", "expected", "consumed") if hasattr(error, name)}
    return {**described(error), **told}


async def noted(diary: Diary, event: str, awaitable: Awaitable[Any]) -> None:
    """Write down what *awaitable* gives or raises. A cancellation is written down and goes on."""
    try:
        diary(event, await awaitable)
    except asyncio.CancelledError as error:
        diary(event, outcome(error))
        raise
    except Exception as error:
        diary(event, outcome(error))


def started(diary: Diary, event: str, awaitable: Awaitable[Any]) -> "asyncio.Task[None]":
    """The same as a task."""
    return diary.loop.create_task(noted(diary, event, awaitable))


def state(reader: Any) -> list[Any]:
    """What can be seen of a reader."""
    return [
        bytes(reader._buffer),
        reader._eof,
        reader.at_eof(),
        in_words(reader.exception()),
        reader._paused,
        reader._waiter is not None,
    ]
