"""``ferrio.testing``: time that tests do not wait for; a loop that makes other choices than usual."""

from __future__ import annotations

from ._chaos import chaos
from ._virtual_clock import VirtualClock, WaitsForEver

__all__ = ["VirtualClock", "WaitsForEver", "chaos"]

for _public in (VirtualClock, WaitsForEver, chaos):
    _public.__module__ = __name__
