"""Crawls a site from its first page along its links, many pages at once, and checks every page.

    python -m ferrio examples/crawl.py http://127.0.0.1:8000/pages/0
    python examples/crawl.py http://127.0.0.1:8000/pages/0

A page is right when its text has the SHA-256 that the page itself names, and its number is the one in its
address. Written for the service beside it, demo/service.py.
"""

import argparse
import asyncio
import hashlib
import json
import re
import resource
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
from tqdm import tqdm

LINK = re.compile(rb'<a href="([^"]+)">')
TITLE = re.compile(rb"<title>Page (\d+)</title>")
DIGEST = re.compile(rb'<meta name="sha256" content="([0-9a-f]{64})">')
TEXT = re.compile(rb"<main>(.*)</main>", re.DOTALL)


class WrongPage(Exception):
    """A page that is not what its address promises."""


class Progress:
    """A bar on a terminal; a line for every fifth of the way otherwise."""

    def __init__(self, total: int) -> None:
        self._done, self._total, self._started = 0, total, time.monotonic()
        self._bar = tqdm(total=total, unit=" pages", leave=False, disable=None, mininterval=0.2)

    def advance(self) -> None:
        self._done += 1
        self._bar.update()
        if self._bar.disable and self._done * 5 // self._total > (self._done - 1) * 5 // self._total:
            seconds = time.monotonic() - self._started
            left = seconds / self._done * (self._total - self._done)
            rate = f"{self._done / seconds:,.0f} a second"
            print(f"{self._done:,} of {self._total:,} pages, {rate}, {left:.0f} s left", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def checked(url: str, body: bytes) -> list[str]:
    """The links of a page.

    Raises:
        WrongPage: The page is not the one that *url* names, or its text is damaged.
    """
    title, digest, text = TITLE.search(body), DIGEST.search(body), TEXT.search(body)
    if title is None or digest is None or text is None:
        raise WrongPage(f"{url}: not a page of this site")
    if title[1].decode() != urlsplit(url).path.rpartition("/")[2]:
        raise WrongPage(f"{url}: gave page {title[1].decode()}")
    if hashlib.sha256(text[1]).hexdigest().encode() != digest[1]:
        raise WrongPage(f"{url}: its text does not have the digest that it names")
    return [urljoin(url, link.decode()) for link in LINK.findall(body)]


async def crawl(first: str, pages: int, concurrency: int) -> list[float]:
    """Fetch *pages* distinct pages; returns the seconds that each took."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(first)
    known = {first}
    latencies: list[float] = []
    progress = Progress(pages)
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=60)

    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def fetch(url: str) -> None:
            started = time.perf_counter()
            async with session.get(url) as response:
                response.raise_for_status()
                body = await response.read()
            latencies.append(time.perf_counter() - started)
            for link in checked(url, body):
                if link not in known and len(known) < pages:
                    known.add(link)
                    queue.put_nowait(link)
            progress.advance()
            if len(latencies) == pages:
                for worker in workers:
                    worker.cancel()

        async def work() -> None:
            while True:
                await fetch(await queue.get())

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        try:
            results = await asyncio.gather(*workers, return_exceptions=True)
        finally:
            progress.close()
    for result in results:
        if not isinstance(result, asyncio.CancelledError):
            raise result
    return latencies


async def main(arguments: argparse.Namespace) -> dict[str, object]:
    loop = type(asyncio.get_running_loop())
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    latencies = await crawl(arguments.url, arguments.pages, arguments.concurrency)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    hundredths = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "loop": f"{loop.__module__}.{loop.__qualname__}",
        "pages": len(latencies),
        "seconds": seconds,
        "pages_per_s": len(latencies) / seconds,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "p50_ms": hundredths[49] * 1000,
        "p99_ms": hundredths[98] * 1000,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="the first page")
    parser.add_argument("--pages", type=int, default=3000, help="how many distinct pages to fetch")
    parser.add_argument("--concurrency", type=int, default=100, help="pages fetched at once")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    figures = asyncio.run(main(arguments))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures))
    print(
        "{pages:,} pages, all as they should be, in {seconds:.2f} s: {pages_per_s:,.0f} a second, "
        "p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, {cpu_s:.2f} s of CPU, on {loop}".format(**figures)
    )
