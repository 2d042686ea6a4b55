"""``run``, ``Runner``, ``new_event_loop``: running a program on a Ferrio loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine

from ._event_loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TypeVar

    T = TypeVar("T")
    L = TypeVar("L", bound=asyncio.AbstractEventLoop)

    class Clock(Protocol):
        """What gives a loop its time: a ``ferrio.testing.VirtualClock``."""

        def attach(self, loop: asyncio.AbstractEventLoop, /) -> None:
            """Become the clock of *loop*."""
else:
    # Stand-ins for tools that evaluate annotations: importing `typing` would slow every start.
    Any = Clock = L = T = object


def new_event_loop(*, native_tasks: bool | None = None, clock: Clock | None = None, nested: bool = False) -> Loop:
    """Make a loop that is not yet running: the loop factory for servers and test runners.

    Args:
        native_tasks: Whether its tasks and futures are ``ferrio.Task`` and ``ferrio.Future``, or asyncio's own. None:
            the former, unless the environment variable ``FERRIO_NATIVE_TASKS`` is ``0``.
        clock: The loop's time, a ``ferrio.testing.VirtualClock``; real time when None.
        nested: Whether ``run_until_complete`` and ``ferrio.run`` may be called while it runs, in its thread, for
            notebooks and consoles. A ``RuntimeError`` otherwise, as with asyncio.
    """
    loop = Loop(native_tasks=native_tasks)
    if nested:
        from ._nesting import let_nest

        let_nest(loop)
    return _attach(clock, loop)


class Runner(asyncio.Runner):  # type: ignore[misc]  # final in the type stubs only
    """``asyncio.Runner`` on a Ferrio loop.

    Args:
        debug: Debug mode; from ``PYTHONASYNCIODEBUG`` and ``-X dev`` when None.
        loop_factory: Makes the loop; ``new_event_loop`` when None.
        clock: The loop's time, a ``ferrio.testing.VirtualClock``; real time when None.
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=_with_clock(loop_factory or new_event_loop, clock))


def _attach(clock: Clock | None, loop: L) -> L:
    """Give *loop* its clock; without it there is no loop."""
    if clock is not None:
        try:
            clock.attach(loop)
        except BaseException:
            loop.close()
            raise
    return loop


def _with_clock(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], clock: Clock | None
) -> Callable[[], asyncio.AbstractEventLoop]:
    if clock is None:
        return loop_factory

    return lambda: _attach(clock, loop_factory())


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    clock: Clock | None = None,
) -> T:
    """Run *main* on a new loop, close the loop, and return the result.

    Within a loop that nests (``new_event_loop(nested=True)``, or ``nest_asyncio``), *main* runs as a task of that loop,
    unless a *loop_factory* or a *clock* is given.

    Args:
        debug: As for ``Runner``, like the next two.
        loop_factory: Makes the loop.
        clock: The loop's time.

    Raises:
        RuntimeError: A loop is running in this thread that does not nest.
        TypeError, ValueError: *main* is no coroutine; which of them is asyncio's, by version.

    Follows ``asyncio.run``.
    """
    running = asyncio.events._get_running_loop()
    if running is not None:
        from ._nesting import nests, run_within

        if loop_factory is None and clock is None and nests(running):
            return run_within(running, main, debug=debug)
        error = RuntimeError("asyncio.run() cannot be called from a running event loop")
        error.add_note("ferrio.run() was called where a loop is running already: await the coroutine there")
        raise error
    with Runner(debug=debug, loop_factory=loop_factory, clock=clock) as runner:
        try:
            return runner.run(main)
        except (TypeError, ValueError) as refusal:
            # A function in place of the coroutine that it makes is the usual mistake.
            if inspect.iscoroutinefunction(main):
                refusal.add_note(f"{main.__name__} is a function; call it: run({main.__name__}())")
            raise
