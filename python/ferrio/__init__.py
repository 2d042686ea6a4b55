"""Ferrio: asyncio, written in Rust. A drop-in event loop for Python 3.11 - 3.15.

Importing this package changes nothing outside itself. What most programs never use is imported when it is first used.
"""

from __future__ import annotations

import sys

from . import _supported  # noqa: F401  # first, so that an unsupported interpreter is told so
from ._event_loop import Loop
from ._ferrio import Future, Task, __version__
from ._running import Runner, new_event_loop, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._installation import install, uninstall
    from ._statistics import Statistics
    from ._watching import Stall, Watch, watch

    if sys.version_info < (3, 16):
        from ._policy import EventLoopPolicy

__all__ = [
    "Future",
    "Loop",
    "Runner",
    "Stall",
    "Statistics",
    "Task",
    "Watch",
    "__version__",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
    "watch",
]

# The modules of the names that are looked up late.
_late = {
    "Stall": "_watching",
    "Statistics": "_statistics",
    "Watch": "_watching",
    "install": "_installation",
    "uninstall": "_installation",
    "watch": "_watching",
}

if sys.version_info < (3, 16):
    __all__ += ["EventLoopPolicy"]
    _late["EventLoopPolicy"] = "_policy"


def __getattr__(name: str) -> object:
    if name not in _late:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    from importlib import import_module

    # Kept, so that this function is not asked again.
    found = globals()[name] = getattr(import_module(f".{_late[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_late})
