"""The one report of the exception handler that says nothing about a connection: a stream's unread close waiter.

A stream's protocol has a future that ends with the connection, for ``wait_closed``. Where nobody has awaited it,
``StreamReaderProtocol.__del__`` reads its exception, so that the future does not report it as never retrieved. In
garbage that only the collector finds, the collector's order decides which of the two goes first. As a rule the older
does, the protocol. When a young collection ran between the making of the two, the next full one lists the younger
generation first, and the future reports. ``test_soak.py`` shows the same with the standard library's own loop.
"""

import asyncio
from typing import Any

_MARK = "_soak_close_waiter"


def mark_close_waiters() -> None:
    """Have every stream's protocol mark its close waiter from now on."""
    make = asyncio.StreamReaderProtocol.__init__

    def make_and_mark(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        setattr(self._closed, _MARK, True)

    asyncio.StreamReaderProtocol.__init__ = make_and_mark  # type: ignore[method-assign]


def is_unread_close_waiter(context: dict[str, Any]) -> bool:
    """Whether the exception handler's *context* is the report of a marked future that its connection was lost."""
    return (
        context["message"] == "Future exception was never retrieved"
        and isinstance(context["exception"], ConnectionError)
        and getattr(context["future"], _MARK, False)
    )
