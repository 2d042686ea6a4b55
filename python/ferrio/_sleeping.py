"""``sleep``: a native coroutine, which needs no future for ``sleep(0)``."""

from __future__ import annotations

import asyncio

from ._ferrio import CoroutineFunction

__all__ = ["sleep"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import sleep
else:
    sleep = CoroutineFunction("sleep", asyncio.sleep)
