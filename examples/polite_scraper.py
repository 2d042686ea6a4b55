"""Fetches many pages of a site: so many a second at most, again after failures, with the progress on the way.

    python -m ferrio examples/polite_scraper.py urls.txt --rate 20 --into pages

Needs aiohttp. The file has an address in each line. A page is tried again after a server's error, a lost connection and
a time limit, each time later, and no sooner than a server's `Retry-After` says. What could not be fetched is listed at
the end, and the exit status is 1.
"""

import argparse
import asyncio
import hashlib
import random
import sys
import time
from pathlib import Path

import aiohttp

TRIES = 5
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


class Rate:
    """Lets *per_second* callers on each second, evenly spaced."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        self._next = max(self._next, now)
        pause = self._next - now
        self._next += self._interval
        await asyncio.sleep(pause)


class Progress:
    def __init__(self, total: int) -> None:
        self._total, self._done, self._failed, self._tries = total, 0, 0, 0
        self._started = time.monotonic()

    def tried(self) -> None:
        self._tries += 1

    def finished(self, failed: bool) -> None:
        self._done += 1
        self._failed += failed

    def __str__(self) -> str:
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        return (
            f"{self._done:,} of {self._total:,} pages, {rate:,.0f} a second, {left:,.0f} s left; "
            f"{self._tries - self._done:,} tries beside, {self._failed:,} failed"
        )

    async def show(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            print(self, file=sys.stderr)


def pause_before(attempt: int, answer: aiohttp.ClientResponseError | None) -> float:
    """Seconds until the next try: twice as many each time, and partly random, so that clients do not come together."""
    pause = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
    said = "" if answer is None or answer.headers is None else answer.headers.get("Retry-After", "")
    return max(pause * random.uniform(0.5, 1), min(float(said), LONGEST_PAUSE_S) if said.isdecimal() else 0.0)


async def fetch(session: aiohttp.ClientSession, url: str, rate: Rate, progress: Progress) -> bytes:
    """The page.

    Raises:
        aiohttp.ClientError, TimeoutError: The last try's error, or one that another try would not change.
    """
    for attempt in range(TRIES):
        await rate.turn()
        progress.tried()
        answer = None
        try:
            async with session.get(url) as response:
                response.raise_for_status()
                return await response.read()
        except aiohttp.ClientResponseError as error:
            if error.status not in TRY_AGAIN or attempt == TRIES - 1:
                raise
            answer = error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
            if attempt == TRIES - 1:
                raise
        await asyncio.sleep(pause_before(attempt, answer))
    raise AssertionError("the last try returns or raises")


async def main(arguments: argparse.Namespace) -> int:
    urls = list(dict.fromkeys(arguments.urls.read_text().split()))
    arguments.into.mkdir(parents=True, exist_ok=True)
    rate, progress, waiting = Rate(arguments.rate), Progress(len(urls)), iter(urls)
    failed: dict[str, Exception] = {}

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=arguments.seconds)) as session:

        async def work() -> None:
            # An iterator shared by the workers is the queue.
            for url in waiting:
                try:
                    page = await fetch(session, url, rate, progress)
                    (arguments.into / hashlib.sha256(url.encode()).hexdigest()).write_bytes(page)
                except (aiohttp.ClientError, TimeoutError) as error:
                    failed[url] = error
                progress.finished(url in failed)

        showing = asyncio.create_task(progress.show(arguments.every))
        async with asyncio.TaskGroup() as group:
            for _ in range(arguments.at_once):
                group.create_task(work())
        showing.cancel()

    print(progress, file=sys.stderr)
    for url, error in failed.items():
        print(f"{url}: {error!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("urls", type=Path, help="a file with an address in each line")
    parser.add_argument(
        "--into", type=Path, default=Path("pages"), help="a page's name there is the SHA-256 of its URL"
    )
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second")
    parser.add_argument("--at-once", type=int, default=20, help="requests in flight")
    parser.add_argument("--seconds", type=float, default=30.0, help="for one try")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two lines of progress")
    sys.exit(asyncio.run(main(parser.parse_args())))
