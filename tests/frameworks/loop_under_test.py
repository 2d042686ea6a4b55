"""The loop that this folder's tests run on, chosen by the environment variable ``FERRIO_TEST_LOOP``.

=============  ==========================================================================================
``ferrio``     The default. Ferrio must import and its loop must be the one that runs; nothing is skipped.
``asyncio``    The standard library's loop: the control that shows a test to be right.
=============  ==========================================================================================

Each test is an ordinary function that gives its coroutine function to `run`, so that every test has a loop of
its own and no pytest plugin decides which one.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

NAME = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"

if NAME == "ferrio":
    import ferrio

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = ferrio.new_event_loop
elif NAME == "asyncio":
    new_event_loop = asyncio.new_event_loop
else:
    raise ValueError(f"FERRIO_TEST_LOOP={NAME!r}: expected 'ferrio' or 'asyncio'")

#: For programs that take a loop factory as text, such as ``uvicorn --loop``.
FACTORY = f"{NAME}:new_event_loop"


def is_loop_under_test(module: str) -> bool:
    """Whether a loop whose class lives in *module* is the one chosen by ``FERRIO_TEST_LOOP``."""
    return module.partition(".")[0] in {NAME, f"_{NAME}"}


def assert_running_on_loop_under_test() -> None:
    """Fail unless the running loop is the chosen one."""
    loop = asyncio.get_running_loop()
    module = type(loop).__module__
    assert is_loop_under_test(module), f"{type(loop)!r} is running, expected {NAME}'s loop"
    if NAME == "ferrio":
        assert isinstance(loop, ferrio.Loop)


def run(main: Callable[[], Awaitable[T]], *, limit: float = 20.0, unhandled: list[dict[str, Any]] | None = None) -> T:
    """Run ``main()`` on a new loop under test and close the loop.

    Args:
        main: A coroutine function without parameters.
        limit: Seconds after which the test fails with TimeoutError.
        unhandled: Receives the contexts given to the loop's exception handler. Without it, any such context
            fails the test.
    """
    contexts: list[dict[str, Any]] = [] if unhandled is None else unhandled

    async def limited() -> T:
        assert_running_on_loop_under_test()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
        async with asyncio.timeout(limit):
            return await main()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        result = runner.run(limited())
    if unhandled is None:
        assert contexts == []
    return result
