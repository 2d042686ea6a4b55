import asyncio
import sys

import aiohttp


async def fetch(url):
    async with aiohttp.ClientSession() as session:  # noqa: SIM117 - as simple as a first program is
        async with session.get(url) as response:
            return await response.text()


async def main():
    urls = sys.argv[1:]
    tasks = [fetch(url) for url in urls]
    results = await asyncio.gather(*tasks)
    for result in results:
        print(result)


asyncio.run(main())
