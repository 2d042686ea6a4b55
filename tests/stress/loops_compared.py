"""Running one scenario on the standard library's loop and on the loop under test, and comparing all that
shows.

What shows: the exception (type, arguments, errno, and the same of the members of a group), the returned
value, log records, contexts given to the exception handler, warnings, and descriptors left open. Addresses,
ports, descriptor numbers and the reprs of loops, transports and handles are replaced by words, because they
differ between two runs.

The loop under test is Ferrio's; with ``FERRIO_TEST_LOOP=asyncio`` the standard library's is compared with
itself, which shows that a scenario gives the same twice.
"""

import asyncio
import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

NAME = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
LIMIT_S = 10.0

Scenario = Callable[[asyncio.AbstractEventLoop], Any]


def new_loop_under_test() -> asyncio.AbstractEventLoop:
    if NAME == "asyncio":
        return asyncio.new_event_loop()
    import ferrio

    loop = ferrio.new_event_loop()
    assert isinstance(loop, ferrio.Loop)
    return loop


#: Each pattern and the word that stands for what it matches, in this order.
WORDS = [
    (re.compile(r"0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"<[\w.]*(?:Event)?Loop [^<>]*>"), "<loop>"),
    (re.compile(r"<[\w.]*Transport\b[^<>]*(?:<[^<>]*>[^<>]*)*>"), "<transport>"),
    (re.compile(r"<[\w.]*Handle\b[^<>]*(?:<[^<>]*(?:<[^<>]*>[^<>]*)*>[^<>]*)*>"), "<handle>"),
    (re.compile(r"<[\w.]*(?:Task|Future)\b[^<>]*(?:<[^<>]*(?:<[^<>]*>[^<>]*)*>[^<>]*)*>"), "<future>"),
    (re.compile(r"Exception in callback .*"), "Exception in callback <callback>"),
    (re.compile(r"\bfd=\d+"), "fd=N"),
    (re.compile(r"\bname=\d+"), "name=N"),
    (re.compile(r"\b[Ff]ile descriptor \d+"), "File descriptor N"),
    (re.compile(r"\bTask-\d+"), "Task-N"),
    (re.compile(r"\b(?:[1-6]\d{4}|[1-9]\d{3})\b"), "PORT"),
    (re.compile(rf"{re.escape(tempfile.gettempdir())}/[^'\" ]*/"), "FOLDER/"),
]


def in_words(value: Any) -> Any:
    """*value* without what differs between two runs of the same thing."""
    if isinstance(value, str):
        for pattern, word in WORDS:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, BaseException):
        return described(value)
    if isinstance(value, tuple | list):
        return [in_words(each) for each in value]
    if isinstance(value, dict):
        return {in_words(key): in_words(each) for key, each in value.items()}
    if isinstance(value, int | float | bytes | None):
        return value
    return in_words(repr(value))


class OnlyType:
    """Stands for an exception whose text tells how the interpreter came to it, and so may differ."""

    def __init__(self, error: BaseException) -> None:
        self._type = type(error)

    def __repr__(self) -> str:
        return f"<some {self._type.__name__}>"


def described(error: BaseException) -> dict[str, Any]:
    """The facts of *error* that users see."""
    description: dict[str, Any] = {"type": type(error), "args": in_words(error.args)}
    if isinstance(error, OSError):
        description["errno"] = error.errno
    if isinstance(error, BaseExceptionGroup):
        description["args"] = [in_words(error.args[0])]
        description["members"] = [described(member) for member in error.exceptions]
    return description


@dataclass
class Outcome:
    """All that showed of one scenario on one loop."""

    raised: dict[str, Any] | None = None
    value: Any = None
    logs: list[tuple[str, str, str]] = field(default_factory=list)
    contexts: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[tuple[type[Warning], str]] = field(default_factory=list)
    descriptors_left: int = 0


class _Records(logging.Handler):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    def emit(self, record: logging.LogRecord) -> None:
        first_line = record.getMessage().partition("\n")[0]
        self._outcome.logs.append((record.name, record.levelname, in_words(first_line)))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def observe(scenario: Scenario, new_loop: Callable[[], asyncio.AbstractEventLoop], *, debug: bool = False) -> Outcome:
    """Run ``scenario(loop)`` with a new loop, close the loop, and tell what showed."""
    outcome = Outcome()
    records = _Records(outcome)
    logger = logging.getLogger("asyncio")
    logger.addHandler(records)
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda info: outcome.contexts.append({"unraisable": in_words(info.exc_value)})
    gc.collect()
    before = open_descriptors()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _run(scenario, new_loop(), outcome, debug=debug)
            gc.collect()
        outcome.warnings = sorted(
            ((each.category, in_words(str(each.message))) for each in caught),
            key=lambda each: (each[0].__name__, each[1]),
        )
    finally:
        sys.unraisablehook = unraisable
        logger.removeHandler(records)
    outcome.descriptors_left = open_descriptors() - before
    return outcome


def _run(scenario: Scenario, loop: asyncio.AbstractEventLoop, outcome: Outcome, *, debug: bool) -> None:
    def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        outcome.contexts.append(
            {
                "keys": sorted(context),
                "message": in_words(context["message"]),
                "exception": None if error is None else described(error),
            }
        )
        loop.default_exception_handler(context)

    loop.set_debug(debug)
    # What a busy machine makes slow is no difference.
    loop.slow_callback_duration = float("inf")  # type: ignore[attr-defined]
    loop.set_exception_handler(on_exception)
    try:
        outcome.value = in_words(scenario(loop))
    except BaseException as error:
        outcome.raised = described(error)
    finally:
        if not loop.is_closed():
            _end(loop)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """What ``asyncio.run`` does at its end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def same_on_both(scenario: Scenario, *, debug: bool = False, ignoring: Collection[str] = ()) -> Outcome:
    """What *scenario* shows on asyncio's loop; fail when the loop under test shows anything else.

    Fields of `Outcome` named in *ignoring* are not compared.
    """
    expected = observe(scenario, asyncio.new_event_loop, debug=debug)
    actual = observe(scenario, new_loop_under_test, debug=debug)
    differences = [
        f"{name}:\n  asyncio: {theirs}\n  {NAME}: {getattr(actual, name)}"
        for name, theirs in vars(expected).items()
        if name not in ignoring and getattr(actual, name) != theirs
    ]
    assert not differences, "\n".join(differences)
    return expected


def awaiting(main: Callable[[asyncio.AbstractEventLoop], Awaitable[Any]]) -> Scenario:
    """The scenario that runs ``main(loop)`` to its end, or fails after a limit."""

    async def limited(loop: asyncio.AbstractEventLoop) -> Any:
        async with asyncio.timeout(LIMIT_S):
            return await main(loop)

    return lambda loop: loop.run_until_complete(limited(loop))


def turn(loop: asyncio.AbstractEventLoop, times: int = 1) -> None:
    """Run *loop* for one turn, or more."""
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()


def run_until(loop: asyncio.AbstractEventLoop, condition: Callable[[], object]) -> bool:
    """Run *loop* until *condition* holds; False when it does not within a limit."""
    end = loop.time() + LIMIT_S
    while not condition():
        if loop.time() > end:
            return False
        wake = loop.call_later(0.002, lambda: None)
        turn(loop)
        wake.cancel()
    return True
