"""``run``, ``Runner``, ``new_event_loop``: running a program on a Ferrio loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._event_loop import Loop

T = TypeVar("T")


def new_event_loop(*, native_tasks: bool | None = None) -> Loop:
    """Make a loop that is not yet running: the loop factory for servers and test runners.

    Args:
        native_tasks: Whether its tasks and futures are ``ferrio.Task`` and ``ferrio.Future``, or asyncio's own. None:
            the former, unless the environment variable ``FERRIO_NATIVE_TASKS`` is ``0``.
    """
    return Loop(native_tasks=native_tasks)


class Runner(asyncio.Runner):  # type: ignore[misc]  # final in the type stubs only
    """``asyncio.Runner`` on a Ferrio loop.

    Args:
        debug: Debug mode; from ``PYTHONASYNCIODEBUG`` and ``-X dev`` when None.
        loop_factory: Makes the loop; ``new_event_loop`` when None.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run *main* on a new loop, close the loop, and return the result.

    Raises:
        RuntimeError: A loop is running in this thread.
        TypeError, ValueError: *main* is no coroutine; which of them is asyncio's, by version.

    Follows ``asyncio.run``.
    """
    if asyncio.events._get_running_loop() is not None:
        error = RuntimeError("asyncio.run() cannot be called from a running event loop")
        error.add_note("ferrio.run() was called where a loop is running already: await the coroutine there")
        raise error
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        try:
            return runner.run(main)
        except (TypeError, ValueError) as refusal:
            # A function in place of the coroutine that it makes is the usual mistake.
            if inspect.iscoroutinefunction(main):
                refusal.add_note(f"{main.__name__} is a function; call it: run({main.__name__}())")
            raise
