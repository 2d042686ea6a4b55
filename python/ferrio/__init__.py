"""Ferrio: asyncio, written in Rust. A drop-in event loop for Python 3.11 - 3.15.

Importing this package changes nothing outside itself.
"""

from __future__ import annotations

import sys

from . import _supported  # noqa: F401  # first, so that an unsupported interpreter is told so
from ._event_loop import Loop
from ._ferrio import Future, Task, __version__
from ._installation import install, uninstall
from ._running import Runner, new_event_loop, run
from ._statistics import Statistics
from ._watching import Stall, Watch, watch

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

if sys.version_info < (3, 16):
    from ._policy import EventLoopPolicy

    __all__ += ["EventLoopPolicy"]
