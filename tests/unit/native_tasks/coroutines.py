"""The simplest coroutines: one that ends at once, one that waits for a future."""

import asyncio
from typing import Any


async def nothing() -> None:
    pass


async def wait_for(future: asyncio.Future[Any]) -> Any:
    return await future
