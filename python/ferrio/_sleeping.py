"""``sleep``: asyncio's, without a frame, and without a future when it only lets the loop turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ._ferrio import CoroutineFunction

__all__ = ["sleep"]

if TYPE_CHECKING:
    from asyncio import sleep
else:
    sleep = CoroutineFunction("sleep", asyncio.sleep)
