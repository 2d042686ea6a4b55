"""Waiting for what may never happen.

The wait is counted in sleeps, not in seconds: where the machine stops for a while, what is waited for has stopped too.
"""

import asyncio
from collections.abc import Callable

SLEEP_S = 0.001


async def until(is_there: Callable[[], object], sleeps: int = 100) -> None:
    """Sleep until the condition holds, at most so often."""
    for _ in range(sleeps):
        if is_there():
            return
        await asyncio.sleep(SLEEP_S)
