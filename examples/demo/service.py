"""A site of some thousands of pages, each a few KiB of HTML with links to others, and the same pages as JSON.

python -m uvicorn --app-dir examples/demo service:app --loop ferrio:new_event_loop
"""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse

PAGES = int(os.environ.get("DEMO_PAGES", "5000"))
LINKS = 6
WORDS = [
    *("rust", "loop", "socket", "timer", "task", "future", "stream", "turn"),
    *("ready", "wake", "poll", "buffer", "kernel", "byte", "frame", "signal"),
]

pages: list[str] = []


def links_of(number: int) -> list[int]:
    """The pages that page *number* links to; every page can be reached from page 0."""
    others = [2 * number + 1, 2 * number + 2, *(number * 31 + 7 * place for place in range(1, LINKS - 1))]
    return [other % PAGES for other in others]


def text_of(number: int) -> str:
    words = random.Random(number).choices(WORDS, k=450)
    return f"<h1>Page {number}</h1>" + "".join(
        f"<p>{' '.join(words[start : start + 50])}.</p>" for start in range(0, len(words), 50)
    )


def page_of(number: int) -> str:
    text = text_of(number)
    digest = hashlib.sha256(text.encode()).hexdigest()
    links = "".join(f'<li><a href="/pages/{other}">Page {other}</a></li>' for other in links_of(number))
    return (
        f'<!doctype html><html><head><title>Page {number}</title><meta name="sha256" content="{digest}">'
        f"</head><body><main>{text}</main><nav><ul>{links}</ul></nav></body></html>"
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    pages.extend(page_of(number) for number in range(PAGES))
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/pages/{number}", response_class=HTMLResponse)
async def page(number: int) -> HTMLResponse:
    if not 0 <= number < PAGES:
        raise HTTPException(404)
    return HTMLResponse(pages[number])


@app.get("/api/pages/{number}")
async def page_as_json(number: int) -> dict[str, object]:
    if not 0 <= number < PAGES:
        raise HTTPException(404)
    return {"number": number, "links": links_of(number), "bytes": len(pages[number])}


@app.get("/loop")
async def loop_class() -> dict[str, str]:
    kind = type(asyncio.get_running_loop())
    return {"loop": f"{kind.__module__}.{kind.__qualname__}"}
