"""One scenario on one loop, and all that shows of it.

A scenario is a coroutine function that takes a `Diary` and writes down what happens. What shows besides: the result or
the exception (type, arguments, errno, causes, members of a group), contexts given to the exception handler, log
records, warnings, and descriptors left open.

Words stand for what differs between two runs of the same thing: addresses, ports, descriptor numbers, durations, and
the names of the two loops' classes.
"""

import asyncio
import contextlib
import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT_S = 5.0

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
#: Port numbers from here on are the kernel's choice.
EPHEMERAL = 1024

CHECKOUT = Path(__file__).parents[2]
#: The checkout's path below the folder for temporary files, or a path that leads nowhere.
IN_TEMPORARY = os.path.relpath(CHECKOUT, tempfile.gettempdir())

#: Each pattern and what stands for its matches, in this order.
WORDS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\b0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"\b(?:_UnixSelectorEventLoop|_UnixEventLoop|SelectorEventLoop|Loop)\b"), "LOOP"),
    (
        re.compile(r"\b(?:_SelectorSocketTransport|_SelectorTransport|SocketTransport|StreamTransport)\b"),
        "TRANSPORT",
    ),
    (re.compile(r"\b(?:_Unix)?(?P<kind>ReadPipe|WritePipe|Subprocess)Transport\b"), r"\g<kind>"),
    (re.compile(r"\b(?:_SelectorDatagramTransport|DatagramSocketTransport|DatagramTransport)\b"), "TRANSPORT"),
    (re.compile(r"\b(?:_?ThreadSafeHandle|TimerHandle|Handle)\b"), "HANDLE"),
    (re.compile(r"\bBaseEventLoop\.(?=\w+\(\))"), ""),
    # A listening socket's callback, and a task's: the names and arguments of the loops' own.
    (re.compile(r"\b(?:LOOP\._accept|BaseSelectorEventLoop\._accept_connection)\(.*\)"), "ACCEPT()"),
    (re.compile(r"<(?:_asyncio\.)?TaskStepMethWrapper object at ADDRESS>\("), "Task.task_step("),
    (re.compile(r"Cannot call writelines\(\)"), "Cannot call write()"),
    (re.compile(r"\bfd=-?\d+"), "fd=N"),
    (re.compile(r"\b([Ff]ile descriptor) \d+"), r"\1 N"),
    (re.compile(r"\bTask-\d+"), "TASK"),
    (re.compile(r"\bpid \d+|<pid \d+>|\bpid=\d+"), "PID"),
    (re.compile(r"\b\d+\.\d+ ?(seconds|ms)"), r"T \1"),
    (re.compile(r"\bwhen=\d+\.\d+"), "when=T"),
    (re.compile(r"\bpipe \d+"), "pipe N"),
    (re.compile(r"\bprocess \d+"), "process N"),
    # Names cut short by reprlib.
    (re.compile(r"(connection_made\()<.*?>\)"), r"\1TRANSPORT)"),
    (re.compile(r"<(?:_SelectorSoc|SocketTransp|_SelectorDat|DatagramSoc)\w*\.\.\."), "<TRANSPORT..."),
    (re.compile(r"\bbufsize=\d+"), "bufsize=N"),
    (re.compile(r"('(?:127\.0\.0\.\d|::1|localhost)', )\d+"), r"\1PORT"),
    (re.compile(r"\b(127\.0\.0\.\d|localhost):\d+"), r"\1:PORT"),
    # Where the loop itself has scheduled something.
    (re.compile(r"created at /[^ '\"]*:\d+"), "created at PLACE"),
    # A scenario's own files. The checkout may lie in the same folder: its files have the same names on both loops.
    (re.compile(rf"{re.escape(tempfile.gettempdir())}/(?!{re.escape(IN_TEMPORARY)}/)[^'\" ,)>]*"), "PATH"),
    # The same, cut short by reprlib: of a future made by the loop, asyncio shows its own line, Ferrio the caller's.
    (re.compile(r"(<Future finis\.\.\.)\S+:\d+>"), r"\1PLACE>"),
    # Ferrio says "idle" as soon as everything is sent, asyncio when the writer is removed.
    (re.compile(r"write=<(?:idle|polling)"), "write=<"),
]


def in_words(value: Any) -> Any:
    """Describe *value* in a form that is equal when the same happens again."""
    if isinstance(value, str):
        for pattern, word in WORDS:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, BaseException):
        return described(value)
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    if isinstance(value, type):
        return in_words(value.__name__)
    if isinstance(value, tuple) and len(value) in (2, 4) and value[0] in LOCAL_HOSTS and isinstance(value[1], int):
        return [value[0], value[1] if value[1] < EPHEMERAL else "PORT", *value[2:]]
    if isinstance(value, list | tuple | set | frozenset):
        return [in_words(each) for each in value]
    if isinstance(value, dict):
        return {in_words(key): in_words(each) for key, each in value.items()}
    return in_words(repr(value))


def described(error: BaseException) -> dict[str, Any]:
    """Describe an exception, with its causes and contexts."""
    description: dict[str, Any] = {"type": type(error).__name__, "args": in_words(list(error.args))}
    if isinstance(error, OSError):
        description["errno"] = error.errno
    if isinstance(error, BaseExceptionGroup):
        description["args"] = [in_words(error.message)]
        description["members"] = [described(member) for member in error.exceptions]
    if error.__cause__ is not None:
        description["cause"] = described(error.__cause__)
    elif not error.__suppress_context__ and not isinstance(error.__context__, KeyError | type(None)):
        # A KeyError is how a selector finds out that it does not know a descriptor.
        description["context"] = type(error.__context__).__name__
    return description


class Diary:
    """What a scenario writes down.

    With a clock each entry carries the number of the turn in which it was made: the same callbacks must come not only
    in the same order, but in the same turns.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.entries: list[Any] = []
        self._turn: int | None = None

    def __call__(self, event: str, *details: Any) -> None:
        entry = [event, *map(in_words, details)]
        self.entries.append(entry if self._turn is None else [self._turn, *entry])

    def count_turns(self) -> None:
        """Start counting turns. From here on the loop never sleeps."""
        self._turn = 0

        def tick() -> None:
            assert self._turn is not None
            self._turn += 1
            self.loop.call_soon(tick)

        tick()

    @contextlib.contextmanager
    def raises(self, event: str, *details: Any) -> Iterator[None]:
        """Write down what the block raises, if anything. An exception that ends the scenario passes through."""
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self(event, *details, error)
        else:
            self(event, *details, "nothing raised")


class DidNotEnd(Exception):
    """A scenario exceeded its time limit."""


Scenario = Callable[[Diary], Coroutine[Any, Any, Any]]


@dataclass
class Observation:
    """All observable effects of one scenario on one loop."""

    entries: list[Any] = field(default_factory=list)
    result: Any = None
    raised: Any = None
    contexts: list[Any] = field(default_factory=list)
    logged: list[Any] = field(default_factory=list)
    warned: list[Any] = field(default_factory=list)
    unraisable: list[Any] = field(default_factory=list)
    descriptors_left: int = 0

    @property
    def events(self) -> list[str]:
        """The names of the entries, without details."""
        return [next(part for part in entry if isinstance(part, str)) for entry in self.entries]


def is_compared(line: str) -> bool:
    """Whether a line of a log message is the same on both loops.

    Stacks lead through a loop's inner workings. ``handle_traceback`` tells where asyncio has registered a descriptor of
    its own; Ferrio's transports have no handle.
    """
    return not line.startswith(("  ", "handle_traceback: "))


class _Records(logging.Handler):
    def __init__(self, observation: Observation) -> None:
        super().__init__()
        self._observation = observation

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Using selector: "):
            # Ferrio has none.
            return
        failure = record.exc_info[1] if record.exc_info else None
        lines = [in_words(line) for line in record.getMessage().splitlines() if is_compared(line)]
        self._observation.logged.append([record.levelname, lines, None if failure is None else described(failure)])


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def observe(
    scenario: Scenario,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    debug: bool = False,
    runs_again: bool = False,
) -> Observation:
    """Play *scenario* on a new loop and close the loop.

    With *runs_again* a `KeyboardInterrupt` or `SystemExit` that leaves the loop is written down, and the loop is run
    again until the scenario has ended.
    """
    observation = Observation()
    records = _Records(observation)
    logger = logging.getLogger("asyncio")
    hook, level = sys.unraisablehook, logger.level
    gc.collect()
    before = open_descriptors()
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    sys.unraisablehook = lambda info: observation.unraisable.append(in_words(info.exc_value))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _play(scenario, new_loop(), observation, debug=debug, runs_again=runs_again)
            gc.collect()
        observation.warned = sorted(
            [each.category.__name__, in_words(str(each.message).partition("\n")[0])] for each in caught
        )
    finally:
        sys.unraisablehook = hook
        logger.setLevel(level)
        logger.removeHandler(records)
    observation.descriptors_left = open_descriptors() - before
    return observation


def _play(
    scenario: Scenario,
    loop: asyncio.AbstractEventLoop,
    observation: Observation,
    *,
    debug: bool,
    runs_again: bool,
) -> None:
    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        told = {key: in_words(value) for key, value in context.items() if key in ("message", "exception")}
        observation.contexts.append({**told, "keys": sorted(context)})
        loop.default_exception_handler(context)

    diary = Diary(loop)
    loop.set_debug(debug)
    loop.set_exception_handler(note)
    # How long a callback takes is the machine's affair.
    loop.slow_callback_duration = LIMIT_S  # type: ignore[attr-defined]

    async def limited() -> Any:
        try:
            async with asyncio.timeout(LIMIT_S) as scope:
                return await scenario(diary)
        except TimeoutError:
            if scope.expired():
                raise DidNotEnd(f"after {diary.entries[-3:]}") from None
            raise

    try:
        task = loop.create_task(limited())
        while runs_again and not task.done():
            try:
                loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit) as error:
                diary("left the loop", error)
        observation.result = in_words(loop.run_until_complete(task))
    except DidNotEnd:
        raise
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit) as error:
        observation.raised = described(error)
        # Its frames refer to all that the scenario made.
        del error
    finally:
        _end(loop)
        observation.entries = diary.entries


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Finish as ``asyncio.run`` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        _, pending = loop.run_until_complete(asyncio.wait(tasks, timeout=LIMIT_S))
        if pending:
            loop.close()
            raise DidNotEnd(f"cancelled in vain: {pending}")
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
