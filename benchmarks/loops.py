"""The event loops that are compared, and how one of each is made."""

import asyncio
import importlib
import importlib.metadata
from types import ModuleType

#: In the order of the tables. Every name but ``asyncio`` is a module with ``new_event_loop()``.
NAMES = ("asyncio", "uvloop", "rsloop", "zuvloop", "ferrio", "ferrio.asyncio")

#: Ferrio's loop with programs that import this in place of asyncio: a contestant of its own where that matters.
NAMESPACE = "ferrio.asyncio"

#: The loop that ratios are taken against.
BASELINE = "uvloop"

#: Ferrio with CPython's own tasks and futures.
C_TASKS = "ferrio-c-tasks"

#: uvloop, its transports replaced by aiofastnet's: a contestant of the cases over TLS.
AIOFASTNET = "aiofastnet"

#: The C server: not a loop, but the limit of every network case.
LIMIT = "c"


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """Make a loop. Importing a package may patch ``asyncio``, so a process makes loops of one name only.

    Raises:
        ImportError: The package is not installed.
        AttributeError: The package has no ``new_event_loop`` yet.
    """
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    if name == C_TASKS:
        import ferrio

        return ferrio.new_event_loop(native_tasks=False)
    if name == AIOFASTNET:
        patched: asyncio.AbstractEventLoop = importlib.import_module(name).patch_loop(new_loop("uvloop"))
        return patched
    loop: asyncio.AbstractEventLoop = importlib.import_module(name).new_event_loop()
    return loop


def namespace(name: str) -> ModuleType:
    """What a program on that loop imports as asyncio."""
    return importlib.import_module(name) if name == NAMESPACE else asyncio


def version(name: str) -> str | None:
    """The version of the installed package; None when there is none of that name."""
    try:
        return importlib.metadata.version(name.partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return None
