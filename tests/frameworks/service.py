"""The FastAPI service under test: one route for each thing a web application does with its loop."""

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

#: Seconds that a route waits for another request before it gives up.
LIMIT_S = 10.0

finished: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    loop = type(asyncio.get_running_loop())
    print(f"lifespan: opened on {loop.__module__}.{loop.__qualname__}", flush=True)
    yield {"opened": "yes"}
    await asyncio.sleep(0)
    print("lifespan: closed", flush=True)


app = FastAPI(lifespan=lifespan)


def payload(seed: int, size: int) -> bytes:
    """*size* bytes that another *seed* does not give."""
    return random.Random(seed).randbytes(size)


@app.get("/loop")
async def loop_class(request: Request) -> dict[str, str]:
    kind = type(asyncio.get_running_loop())
    return {"module": kind.__module__, "name": kind.__qualname__, "lifespan": request.state.opened}


@app.get("/square/{number}")
async def square(number: int, nonce: str) -> dict[str, int | str]:
    await asyncio.sleep(0)
    return {"number": number, "square": number * number, "nonce": nonce}


@app.get("/threaded/{number}")
def threaded(number: int) -> dict[str, int]:
    return {"number": number, "double": number * 2}


@app.get("/peer")
async def peer(request: Request) -> dict[str, int]:
    assert request.client is not None
    return {"port": request.client.port}


@app.post("/upload")
async def upload(request: Request) -> dict[str, int | str]:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


@app.get("/download")
async def download(seed: int, size: int) -> Response:
    return Response(payload(seed, size), media_type="application/octet-stream")


@app.get("/stream")
async def stream(seed: int, chunks: int, size: int) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        body = payload(seed, chunks * size)
        for start in range(0, len(body), size):
            yield body[start : start + size]
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


@app.post("/background/{key}")
async def start_background(key: str, tasks: BackgroundTasks) -> dict[str, bool]:
    async def work() -> None:
        await asyncio.sleep(0)
        finished[key].set()

    tasks.add_task(work)
    return {"finished": finished[key].is_set()}


@app.get("/background/{key}")
async def await_background(key: str) -> dict[str, bool]:
    await asyncio.wait_for(finished[key].wait(), LIMIT_S)
    return {"finished": finished.pop(key).is_set()}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (text := message.get("text")) is not None:
                if text == "close, please":
                    await socket.close(4321, "as asked")
                    return
                await socket.send_text(text)
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return
