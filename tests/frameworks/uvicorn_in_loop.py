"""uvicorn served by the loop that is running the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """Tells when it listens, and on which port."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@asynccontextmanager
async def serve_in_loop(app: Any, **options: Any) -> AsyncIterator[_Server]:
    """Serve *app* on a free port of 127.0.0.1 until the block ends, then shut down gracefully."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on", **options)
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({serving, listening}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        listening.cancel()
        await serving
        raise AssertionError("uvicorn ended before it listened")
    try:
        yield server
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 20)
