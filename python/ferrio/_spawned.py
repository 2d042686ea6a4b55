"""What a process hands to those that ``multiprocessing`` spawns for it, or has its fork server fork: ``install()``.

Such a child begins with a new interpreter. Before it imports the program it reads the *preparation data* of its parent,
a pickled dictionary in which it looks for names that it knows. One more entry says, by how it is read, that asyncio's
names are to mean Ferrio's. So do ``ProcessPoolExecutor`` and the workers and reloaders of servers that start them so. A
child that is forked has what its parent has, and one that ``subprocess`` starts is a program of its own.

The fork server itself reads no preparation data. From 3.14 on it imports the program for its children, which would keep
what the program has imported from asyncio by name; it is not told where the program is, and they import it themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any

__all__ = ["prepares_for_ferrio", "spawn"]

# The entry is read before the child's path is its parent's, of which it is a part.
_INSTALL = """\
import sys
sys.path[:] = {path!r}
import ferrio
ferrio.install()
"""


class _Install:
    """What is read as nothing, and installs Ferrio when it is read."""

    def __init__(self, path: list[str]) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_INSTALL.format(path=self._path),)


def prepares_for_ferrio(prepare: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``spawn.get_preparation_data``, for children that run on Ferrio too."""

    def get_preparation_data(*args: Any, **options: Any) -> dict[str, Any]:
        data = prepare(*args, **options)
        if sys._getframe(1).f_globals.get("__name__") == "multiprocessing.forkserver":
            data.pop("init_main_from_path", None)
            return data
        return {**data, "ferrio": _Install(data["sys_path"])}

    return get_preparation_data
