"""Passes ``install()`` on to processes that ``multiprocessing`` starts with a new interpreter.

Such a child is spawned, or forked by the fork server. Before it imports the program, it unpickles its parent's
*preparation data*: a dictionary of which it uses the keys that it knows. Ferrio adds an entry that calls ``install()``
when it is unpickled. This covers ``ProcessPoolExecutor`` and servers that start workers and reloaders through
``multiprocessing``. A forked child inherits the installation, and a child of ``subprocess`` is a program of its own.

The fork server itself gets no such entry. Since 3.14 it imports the program in advance for its children, so that names
imported from asyncio would stay asyncio's. Ferrio removes the path of the program from the fork server's data, and the
children import the program themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any

__all__ = ["spawn", "with_installation"]

# The child unpickles the entry before it takes over its parent's path, on which Ferrio may be.
_INSTALL = """\
import sys
sys.path[:] = {path!r}
import ferrio
ferrio.install()
"""


class _Install:
    """An object that calls ``install()`` when it is unpickled, and becomes ``None``."""

    def __init__(self, path: list[str]) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_INSTALL.format(path=self._path),)


def with_installation(prepare: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a ``spawn.get_preparation_data`` that installs Ferrio in the children."""

    def get_preparation_data(*args: Any, **options: Any) -> dict[str, Any]:
        data = prepare(*args, **options)
        if sys._getframe(1).f_globals.get("__name__") == "multiprocessing.forkserver":
            data.pop("init_main_from_path", None)
            return data
        return {**data, "ferrio": _Install(data["sys_path"])}

    return get_preparation_data
