"""Every native type, how to make an instance, and the ways in which one comes to hold an object.

``KINDS`` has them by the names under which ``ferrio._ferrio`` exports them, and one that it makes without exporting it.
"""

from . import (
    callbacks,
    coroutines,
    extension_calls,
    handles,
    loop_cores,
    primitives,
    streams,
    tasks,
    tls,
    transports,
    watching,
)
from .kinds import KINDS, Kind, Token, Way, World, aio, filled, slots_of

__all__ = ["KINDS", "Kind", "Token", "Way", "World", "aio", "filled", "slots_of"]

#: Each adds its kinds when it is imported.
MODULES = (
    callbacks,
    coroutines,
    extension_calls,
    handles,
    loop_cores,
    primitives,
    streams,
    tasks,
    tls,
    transports,
    watching,
)
