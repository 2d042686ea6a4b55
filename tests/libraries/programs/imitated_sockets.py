"""mocket stands in for the sockets of aiohttp's client."""

import asyncio

import aiohttp
import loop_under_test
from mocket import async_mocketize
from mocket.mockhttp import Entry

URL = "http://service.invalid/"


@async_mocketize
async def main() -> None:
    loop_under_test.check()
    Entry.single_register(Entry.GET, URL, body="imitated", headers={"X-From": "mocket"})
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for _ in range(2):
            async with session.get(URL) as response:
                assert response.status == 200
                assert response.headers["X-From"] == "mocket"
                assert await response.text() == "imitated"


asyncio.run(main())
