"""``timeout``, ``timeout_at``, ``Timeout`` and ``wait_for``: native until the deadline, then asyncio's code."""

from __future__ import annotations

import asyncio
import sys

from . import _ferrio
from ._copying import copied_by

__all__ = ["Timeout", "timeout", "timeout_at", "wait_for"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Timeout, timeout, timeout_at, wait_for
else:

    @copied_by(*vars(asyncio.Timeout(None)))
    class Timeout(_ferrio.TimeoutCore, asyncio.Timeout):
        """A deadline for a block, which can be rescheduled. Follows ``asyncio.Timeout``."""

        reschedule = _ferrio.Function("Timeout.reschedule", asyncio.Timeout.reschedule)
        __aenter__ = _ferrio.CoroutineFunction("Timeout.__aenter__", asyncio.Timeout.__aenter__)
        __aexit__ = _ferrio.CoroutineFunction("Timeout.__aexit__", asyncio.Timeout.__aexit__)
        _on_timeout = _ferrio.Function("Timeout._on_timeout", asyncio.Timeout._on_timeout)

    timeout = _ferrio.Function("timeout", asyncio.timeout)
    timeout_at = _ferrio.Function("timeout_at", asyncio.timeout_at)

    if sys.version_info >= (3, 12):
        wait_for = _ferrio.CoroutineFunction("wait_for", asyncio.wait_for)
    else:
        # wait_for() of 3.11 behaves differently: it runs the awaitable in a task, without timeout().
        from asyncio import wait_for
