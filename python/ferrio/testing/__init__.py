"""``ferrio.testing``: time that tests do not wait for."""

from __future__ import annotations

from ._virtual_clock import VirtualClock, WaitsForEver

__all__ = ["VirtualClock", "WaitsForEver"]

for _class in (VirtualClock, WaitsForEver):
    _class.__module__ = __name__
