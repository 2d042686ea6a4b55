"""The loop under test, and how to run it a little.

Each test makes its own loop, so that no plugin and no policy decides which one runs.
``FERRIO_TEST_LOOP=asyncio`` puts the standard library's selector loop in Ferrio's place: the control that shows a
test to be right. ``FERRIO_TEST_LOOP=chaos`` puts ``ferrio.testing.chaos()`` there, by the seed ``FERRIO_CHAOS``.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

import ferrio
from ferrio.testing import chaos

T = TypeVar("T")

NAME = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
assert NAME in ("ferrio", "asyncio", "chaos")
#: No wait of a test is longer, in seconds.
LIMIT_S = 5.0

#: For what only Ferrio has or promises.
ferrio_only = pytest.mark.skipif(NAME != "ferrio", reason="the control run: this is about Ferrio alone")


def new_loop() -> asyncio.AbstractEventLoop:
    """A new loop of the kind under test."""
    if NAME == "asyncio":
        return asyncio.SelectorEventLoop()
    return chaos() if NAME == "chaos" else ferrio.new_event_loop()


def turn(loop: asyncio.AbstractEventLoop, times: int = 1) -> None:
    """Run exactly one turn, or more."""
    for _ in range(times):
        loop.stop()
        loop.run_forever()


def run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run *main* until it ends; raises TimeoutError after the limit."""

    async def limited() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await main

    return loop.run_until_complete(limited())


def run_until(loop: asyncio.AbstractEventLoop, condition: Callable[[], object]) -> None:
    """Turn the loop until *condition* holds; fail after the limit."""
    end = loop.time() + LIMIT_S
    while not condition():
        assert loop.time() < end, "the condition did not come true"
        # A timer ends the wait for a condition that no callback makes true.
        wake = loop.call_later(0.001, lambda: None)
        loop.call_soon(loop.stop)
        loop.run_forever()
        wake.cancel()


def open_descriptors() -> dict[int, str]:
    """The open descriptors of this process by number, with their targets."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            # The one that listed the folder.
            continue
    return found
