"""Puts a loop class in the place of asyncio's selector loop, before any test module is imported.

The class replaces `asyncio.unix_events._UnixSelectorEventLoop` under every name by which asyncio knows it
(`SelectorEventLoop`, `EventLoop`, the default policy's `_loop_factory`, ...), so `asyncio.new_event_loop`,
`asyncio.Runner`, `asyncio.run` and `unittest.IsolatedAsyncioTestCase` make it too. The names are found by
identity, because they differ between versions.

`BaseEventLoop` and `BaseSelectorEventLoop` stay asyncio's own: what builds them tests the standard library.
"""

import asyncio
import asyncio.unix_events
import functools
import importlib
import inspect
import selectors
import sys

STDLIB = "stdlib"
FERRIO = "ferrio:Loop"

_STANDARD_SELECTORS = frozenset(
    vars(selectors)[name] for name in ("SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector")
)

#: What a module's name ends with when it runs after ``ferrio.install()``.
INSTALLED = "_installed"
#: The modules that do so besides running over the loop alone: they are about what ``install()`` replaces or uses it.
INSTALLED_MODULES = (
    "test_locks",
    "test_queues",
    "test_timeouts",
    "test_taskgroups",
    "test_waitfor",
    "test_runners",
    "test_eager_task_factory",
    "test_graph",
    "test_tasks",
    "test_streams",
)


class Unusable(Exception):
    """The loop cannot be put in place; the message is a sentence for the user."""


class Substitution:
    """A loop class in place, and the number of its instances made so far."""

    def __init__(self, loop_class: type[asyncio.AbstractEventLoop], origin: str) -> None:
        self.loop_class = loop_class
        self.origin = origin
        self.loops_made = 0
        self._count_instances()

    def _count_instances(self) -> None:
        init = self.loop_class.__init__
        is_asyncios = self.loop_class.__module__.startswith("asyncio.")

        @functools.wraps(init)
        def counted(loop: asyncio.AbstractEventLoop, *args: object, **kwargs: object) -> None:
            self.loops_made += 1
            if args and type(args[0]) in _STANDARD_SELECTORS and not is_asyncios:
                # The suite runs over each selector; a loop that polls by itself is to be tested, not asyncio's over it.
                args[0].close()
                args = args[1:]
            init(loop, *args, **kwargs)

        try:
            self.loop_class.__init__ = counted
        except (AttributeError, TypeError) as error:
            raise Unusable(f"The instances of {self.origin} cannot be counted: {error}.") from error


def put_in_place(spec: str) -> Substitution:
    """Make asyncio use the loop named by *spec*.

    Args:
        spec: ``module:Class``, or ``stdlib`` to leave asyncio as it is (its own loops are still counted).

    Raises:
        Unusable: The class cannot be imported, or is no event loop.
    """
    original = asyncio.unix_events._UnixSelectorEventLoop
    if spec == STDLIB:
        return Substitution(original, "asyncio's own selector loop")
    loop_class = _imported(spec)
    _replace(original, loop_class)
    if asyncio.SelectorEventLoop is not loop_class:
        raise Unusable(f"asyncio.SelectorEventLoop is still {asyncio.SelectorEventLoop!r}.")
    return Substitution(loop_class, f"{spec} from {inspect.getfile(loop_class)}")


def install() -> None:
    """Put every part of Ferrio that has a name of asyncio's in its place, not the loop alone.

    Raises:
        Unusable: ``asyncio.sleep`` is still what it was.
    """
    before = asyncio.sleep
    importlib.import_module("ferrio").install()
    if asyncio.sleep is before or asyncio.tasks.sleep is before:
        raise Unusable("ferrio.install() did not replace asyncio.sleep.")


def check_default_loop(substitution: Substitution) -> None:
    """Make a loop as user code does, and refuse to go on when it is not an instance of the class in place."""
    loop = asyncio.new_event_loop()
    loop.close()
    if type(loop) is not substitution.loop_class:
        raise Unusable(f"asyncio.new_event_loop() made a {type(loop)!r}, not {substitution.origin}.")


def _imported(spec: str) -> type[asyncio.AbstractEventLoop]:
    module_name, colon, class_name = spec.partition(":")
    if not colon:
        raise Unusable(f"{spec!r} names no loop: write module:Class, or {STDLIB}.")
    try:
        loop_class = getattr(importlib.import_module(module_name), class_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic in an extension module is not an Exception
        raise Unusable(f"{spec} cannot be imported: {type(error).__name__}: {error}.") from error
    if not (inspect.isclass(loop_class) and issubclass(loop_class, asyncio.AbstractEventLoop)):
        raise Unusable(f"{spec} is no subclass of asyncio.AbstractEventLoop.")
    return loop_class


def _replace(original: type, loop_class: type) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "asyncio" or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            if value is original:
                setattr(module, attribute, loop_class)
            elif inspect.isclass(value) and vars(value).get("_loop_factory") is original:
                value._loop_factory = loop_class
