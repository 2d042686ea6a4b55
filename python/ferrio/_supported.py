"""Refuses an interpreter that Ferrio does not support, with one sentence; imported before everything else.

Installers look at the supported versions themselves, so what gets here came by another way: a copied environment, a
checkout on the search path.
"""

from __future__ import annotations

import sys

OLDEST = (3, 11)
NEWEST = (3, 15)


def refusal() -> str | None:
    """Why this interpreter cannot import Ferrio; None if it can."""
    name, (major, minor) = sys.implementation.name, sys.version_info[:2]
    if name != "cpython" or not OLDEST <= (major, minor) <= NEWEST:
        oldest, newest = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
        return f"Ferrio supports CPython {oldest} - {newest}; this is {name} {major}.{minor}."
    if not sys.platform.startswith("linux"):
        return f"Ferrio runs on Linux for now; this is {sys.platform}."
    if sys.abiflags.startswith("t"):
        return f"Ferrio does not support free-threaded builds of CPython yet; this is one of {major}.{minor}."
    return None


if reason := refusal():
    raise ImportError(reason)

try:
    from ._ferrio import __version__  # noqa: F401  # that it is there is what is asked
except ModuleNotFoundError as error:
    if error.name != "ferrio._ferrio":
        raise
    raise ImportError(
        f"This copy of Ferrio was not built for {sys.implementation.cache_tag}; "
        "install it with the interpreter that is to run it."
    ) from None
