"""Every function, method and attribute of the native module with wrong arguments, without memory.

    python tests/stress/wrong_arguments.py [NAME ...]

Each entry is called with nothing, with what does not belong there, with too much and with an unknown keyword; each
call again and again, with the first, the second, ... allocation of the interpreter failing, and with all of them.
What a call raises is its own business, but for a `SystemError` that tells of a bug. What this looks for ends the
process: a function that finds no memory for the text of its error. The entries are announced on the standard output,
so the last line names the one that went wrong.
"""

import _testcapi
import asyncio
import contextlib
import inspect
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from interpreter_faults import keep_from_harm  # noqa: E402 (found by the line above)

import ferrio  # noqa: E402
from ferrio import _ferrio  # noqa: E402
from unit.collector.native_types import KINDS, World  # noqa: E402

#: Allocations that fail one by one, more than an argument error needs.
POINTS = 6

#: The arguments of the calls, and the names of those that are keywords.
CALLS: list[tuple[tuple[Any, ...], tuple[str, ...] | None]] = [
    ((), None),
    ((object(),), None),
    ((1 << 70,), None),
    ((object(), object()), None),
    (tuple(object() for _ in range(12)), None),
    ((1,), ("nonsense",)),
    ((object(), 1), ("nonsense",)),
]

#: What a call without arguments would run for ever or change in the process.
LEFT_OUT = {"_run_once", "_after_fork", "add_pipe_methods", "_note_stream_reader_class"}
#: What hands odd arguments on to asyncio's own function, whose warning reads a null pointer without memory.
LEFT_TO_ASYNCIO = {"FutureIter.throw"} if (3, 12) <= sys.version_info < (3, 14) else set()
#: What every class inherits or is given by the interpreter, and what reads nothing.
NOT_OURS = {"__doc__", "__module__", "__dict__", "__weakref__", "__hash__", "__init_subclass__", "__subclasshook__"}


#: A name, a function, and the arguments before those that are tried.
Entry = tuple[str, Any, tuple[Any, ...]]


def methods(name: str, instance: Any, kind: type) -> Iterator[Entry]:
    """What can be called of one class, for an instance."""
    for attribute, found in vars(kind).items():
        if attribute in NOT_OURS or attribute in LEFT_OUT or f"{name}.{attribute}" in LEFT_TO_ASYNCIO:
            continue
        if inspect.isgetsetdescriptor(found) or inspect.ismemberdescriptor(found):
            for way in ("__get__", "__set__", "__delete__"):
                yield f"{name}.{attribute}.{way}", getattr(found, way), (instance,)
        elif hasattr(found, "__get__"):
            yield f"{name}.{attribute}", found.__get__(instance, kind), ()


def entries(world: World) -> Iterator[Entry]:
    """Every native entry by its name."""
    for name, value in vars(_ferrio).items():
        if isinstance(value, type):
            yield name, value, ()
            made = KINDS.get(name)
            if made is not None and made.is_used:
                yield from methods(name, made.make(world), value)
        elif callable(value) and name not in LEFT_OUT:
            yield name, value, ()


def call(function: Any, values: tuple[Any, ...], names: tuple[str, ...] | None, first: int, last: int) -> None:
    """One call with the allocations from *first* up to *last* failing (0: all from there on)."""
    try:
        _testcapi.set_nomemory(first, last)
        try:
            # With nothing allocated on the way to the function. The result ends when there is memory again:
            # without, the interpreter's `warnings.warn` reads a null pointer.
            made = _testcapi.pyobject_vectorcall(function, values, names)
        finally:
            _testcapi.remove_mem_hooks()
        del made
    except SystemError as error:
        if "bug" in str(error):
            raise
    except (Exception, asyncio.CancelledError, GeneratorExit):
        pass


def main() -> int:
    chosen = set(sys.argv[1:])
    warnings.simplefilter("ignore")
    # What an interpreter does with coroutines and generators that nobody ran is not looked at.
    sys.unraisablehook = lambda _: None
    loop = ferrio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    world = World(loop)
    found = list(entries(world))
    keep_from_harm()
    for name, function, before in found:
        if chosen and name not in chosen:
            continue
        print(name, flush=True)
        for values, names in CALLS:
            for first in range(POINTS):
                call(function, before + values, names, first, first + 1)
                call(function, before + values, names, first, 0)
    with contextlib.suppress(Exception):
        world.close()
    print(f"{len(found)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
