"""A web service on one event loop.

    python benchmarks/apps/web_service.py --loop uvloop --framework fastapi [--core 0]

Prints ``port N`` when it listens, and serves until a signal ends it. ``GET /item/TOKEN`` answers with JSON that holds
the token, an awaited piece of work (a task of its own and a lock) done in between, as handlers have.

The frameworks: ``fastapi`` under uvicorn with httptools, ``aiohttp``.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import loops

ITEMS = [{"name": f"item {number}", "price": number * 1.5} for number in range(8)]


class Stock:
    """What the handlers share."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.asked = 0

    async def look_up(self, token: str) -> dict[str, object]:
        async with self.lock:
            self.asked += 1
        found = await asyncio.create_task(self.items())
        return {"token": token, "items": found}

    async def items(self) -> list[dict[str, object]]:
        await asyncio.sleep(0)
        return ITEMS


def listen() -> socket.socket:
    """Bind, listen and announce the port: the last thing before serving."""
    listener = socket.socket(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listener.setblocking(False)
    print(f"port {listener.getsockname()[1]}", flush=True)
    return listener


async def serve_fastapi() -> None:
    import uvicorn
    from fastapi import FastAPI

    application, stock = FastAPI(), Stock()

    @application.get("/item/{token}")
    async def item(token: str) -> dict[str, object]:
        return await stock.look_up(token)

    # The loop is the running one: uvicorn is not asked to choose.
    server = uvicorn.Server(uvicorn.Config(application, loop="none", http="httptools", log_level="warning"))
    await server.serve(sockets=[listen()])


async def serve_aiohttp() -> None:
    from aiohttp import web

    application, stock = web.Application(), Stock()

    async def item(request: web.Request) -> web.Response:
        return web.json_response(await stock.look_up(request.match_info["token"]))

    application.router.add_get("/item/{token}", item)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listen()).start()
    await asyncio.Event().wait()


SERVE: dict[str, Callable[[], Awaitable[None]]] = {"fastapi": serve_fastapi, "aiohttp": serve_aiohttp}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, choices=(*loops.NAMES, loops.C_TASKS))
    parser.add_argument("--framework", required=True, choices=SERVE)
    parser.add_argument("--core", type=int, help="run on this CPU only")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(options.loop)) as runner:
        runner.run(SERVE[options.framework]())


if __name__ == "__main__":
    main()
