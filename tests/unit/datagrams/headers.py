"""What asyncio's datagram transports count for headers in this interpreter.

From 3.13 on each datagram that waits counts for a header besides its own bytes. 3.13.0 does not take the header back
when the datagram has left, so that its count never comes down to where writing resumes.
"""

import asyncio
import sys

import pytest

from ..loops import NAME

_THEIRS = asyncio.selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]
_KEEPS_HEADERS = sys.version_info[:2] == (3, 13) and not hasattr(_THEIRS, "_header_size")
_REASON = "this asyncio counts headers that it does not take back, so that nothing ever resumes"

#: For what has to resume on the loop under test.
counts_down = pytest.mark.skipif(NAME == "asyncio" and _KEEPS_HEADERS, reason=_REASON)
#: For what has to resume on asyncio's loop as well, whichever is under test.
asyncio_counts_down = pytest.mark.skipif(_KEEPS_HEADERS, reason=_REASON)


def header_bytes() -> int:
    """The bytes that asyncio counts here for each queued datagram beyond its own."""
    return 8 if sys.version_info >= (3, 13) else 0
