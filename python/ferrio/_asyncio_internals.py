"""asyncio's private names that several modules of Ferrio use, and rules that differ between its releases.

The modules are typed as ``Any``, because asyncio's type stubs leave private names out. Names are looked up in these
modules at each use: programs and asyncio's own tests replace some of them, loggers for example.
"""

from __future__ import annotations

import asyncio.format_helpers
import asyncio.trsock
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CONNECTIONS_HAVE_CONTEXTS",
    "SERVERS_KNOW_TRANSPORTS",
    "base_events",
    "format_helpers",
    "futures",
    "selector_events",
    "tasks",
    "trsock",
    "unix_events",
]

base_events: Any = asyncio.base_events
format_helpers: Any = asyncio.format_helpers
futures: Any = asyncio.futures
selector_events: Any = asyncio.selector_events
tasks: Any = asyncio.tasks
trsock: Any = asyncio.trsock
unix_events: Any = asyncio.unix_events

#: Since 3.15 all callbacks of a connection run in one context.
CONNECTIONS_HAVE_CONTEXTS = sys.version_info >= (3, 15)
#: Since 3.13 a server's ``_attach`` and ``_detach`` take the transport, for ``close_clients``.
SERVERS_KNOW_TRANSPORTS = sys.version_info >= (3, 13)
