"""Ways to fail: coroutines that each come to an error, or are cancelled, and leave nothing open.

``FAILURES`` has them by name. Each takes a :class:`World` and may run any number of times.
"""

from . import connecting, datagrams, processes, raw_sockets, serving, tasks, tls, transports
from .ways import FAILURES, Failure, World, turns

__all__ = ["FAILURES", "Failure", "World", "turns"]

#: Each adds its ways when it is imported.
MODULES = (connecting, datagrams, processes, raw_sockets, serving, tasks, tls, transports)
