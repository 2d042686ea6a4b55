"""What an operation costs with 1,000, 100,000 and 1,000,000 of them pending at a time.

Figures are CPU time of the process, the collector's share of it included: each size is a benchmark of its own, and what
is measured is one operation, made and run.
"""

import asyncio
import functools
import random
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import repeat
from time import process_time_ns

from . import waiting
from .registry import benchmark

SIZES = {"1k": 1_000, "100k": 100_000, "1m": 1_000_000}

#: A round of so many takes seconds.
LONG = 1_000_000

#: Runs one round with so many pending and returns nanoseconds.
Round = Callable[[asyncio.AbstractEventLoop, int], Awaitable[int]]


def at_each_size(operation: str, *, threaded: bool = False) -> Callable[[Round], Round]:
    """Register a benchmark of *operation* for each size, named after the function and the size."""

    def register(each: Round) -> Round:
        for suffix, size in SIZES.items():

            @functools.wraps(each)
            async def run(loop: asyncio.AbstractEventLoop, rounds: int, size: int = size) -> int:
                return sum([await each(loop, size) for _ in repeat(None, rounds)])

            run.__name__ = f"{each.__name__}_{suffix}"
            title = f"{operation}, {size:,} pending"
            benchmark(title, per_round=size, threaded=threaded, is_long=size >= LONG)(run)
        return each

    return register


def note(_argument: object) -> None:
    pass


@at_each_size("one callback with an argument, scheduled with call_soon and run")
async def soon(loop: asyncio.AbstractEventLoop, size: int) -> int:
    schedule, sleep = loop.call_soon, waiting.namespace.sleep
    begin = process_time_ns()
    for number in range(size):
        schedule(note, number)
    await sleep(0)
    return process_time_ns() - begin


@at_each_size("one callback with an argument, scheduled by another thread and run", threaded=True)
async def soon_from_thread(loop: asyncio.AbstractEventLoop, size: int) -> int:
    schedule, done = loop.call_soon_threadsafe, loop.create_future()

    def post() -> None:
        for number in range(size - 1):
            schedule(note, number)
        schedule(done.set_result, None)

    thread = threading.Thread(target=post)
    begin = process_time_ns()
    thread.start()
    await done
    thread.join()
    return process_time_ns() - begin


#: Deadlines are spread over so much time.
SPREAD_S = 0.01


@at_each_size("one timer of an unordered deadline, set with call_at and fired once all are due")
async def timers_fired(loop: asyncio.AbstractEventLoop, size: int) -> int:
    unordered = random.Random(1)
    offsets = [unordered.random() * SPREAD_S for _ in repeat(None, size)]
    ahead_s = max(0.01, size * 4e-6)
    while True:
        done, call_at = loop.create_future(), loop.call_at
        begin = process_time_ns()
        base = loop.time() + ahead_s
        for offset in offsets:
            call_at(base + offset, note, offset)
        # 2 ms after every other, because some clocks tick in milliseconds.
        call_at(base + SPREAD_S + 0.002, done.set_result, None)
        made = process_time_ns() - begin
        is_late = loop.time() >= base
        while loop.time() < base + SPREAD_S + 0.005:
            time.sleep(0.001)  # the loop must not run before all timers are due
        begin = process_time_ns()
        await done
        if not is_late:
            return made + process_time_ns() - begin
        ahead_s *= 2  # the first were due when they were set; some loops make no timer then


@at_each_size("one timer of an unordered deadline a minute ahead, set with call_later and cancelled once all are set")
async def timers_cancelled(loop: asyncio.AbstractEventLoop, size: int) -> int:
    unordered = random.Random(1)
    delays = [60 + unordered.random() for _ in repeat(None, size)]
    call_later, sleep = loop.call_later, waiting.namespace.sleep
    begin = process_time_ns()
    timers = [call_later(delay, note, delay) for delay in delays]
    for timer in timers:
        timer.cancel()
    await sleep(0)  # the turn in which a loop tidies up
    del timer, timers
    return process_time_ns() - begin


@at_each_size("one task that yields once, made, run and awaited")
async def tasks(loop: asyncio.AbstractEventLoop, size: int) -> int:
    sleep, create_task = waiting.namespace.sleep, loop.create_task

    async def child() -> None:
        await sleep(0)

    begin = process_time_ns()
    for task in [create_task(child()) for _ in repeat(None, size)]:
        await task
    return process_time_ns() - begin


@at_each_size("one task that sleeps for 10 ms, made, run and awaited")
async def sleepers(loop: asyncio.AbstractEventLoop, size: int) -> int:
    sleep, create_task = waiting.namespace.sleep, loop.create_task

    async def child() -> None:
        await sleep(0.01)

    begin = process_time_ns()
    for task in [create_task(child()) for _ in repeat(None, size)]:
        await task
    return process_time_ns() - begin


@at_each_size("one item put into a queue and taken out of it, by a task of each side")
async def queue_items(loop: asyncio.AbstractEventLoop, size: int) -> int:
    queue: asyncio.Queue[int] = waiting.namespace.Queue()

    async def put() -> None:
        for number in range(size):
            await queue.put(number)

    begin = process_time_ns()
    task = loop.create_task(put())
    for _ in repeat(None, size):
        await queue.get()
    await task
    return process_time_ns() - begin


@at_each_size("one child of gather, an empty coroutine")
async def gathered(_loop: asyncio.AbstractEventLoop, size: int) -> int:
    begin = process_time_ns()
    await waiting.namespace.gather(*[waiting.nothing() for _ in repeat(None, size)])
    return process_time_ns() - begin


@at_each_size("one future made, awaited by a task of its own, and set")
async def futures_awaited(loop: asyncio.AbstractEventLoop, size: int) -> int:
    sleep, create_task, create_future = waiting.namespace.sleep, loop.create_task, loop.create_future

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    begin = process_time_ns()
    futures = [create_future() for _ in repeat(None, size)]
    waiters = [create_task(wait(future)) for future in futures]
    await sleep(0)
    for future in futures:
        future.set_result(None)
    for waiter in waiters:
        await waiter
    return process_time_ns() - begin


@at_each_size("one task that waits for an event of all, made, woken and awaited")
async def event_waiters(loop: asyncio.AbstractEventLoop, size: int) -> int:
    sleep, create_task, event = waiting.namespace.sleep, loop.create_task, waiting.namespace.Event()

    async def wait() -> None:
        await event.wait()

    begin = process_time_ns()
    waiters = [create_task(wait()) for _ in repeat(None, size)]
    await sleep(0)
    event.set()
    for waiter in waiters:
        await waiter
    return process_time_ns() - begin


@at_each_size("one task that waits for a lock, made, let in and awaited")
async def lock_waiters(loop: asyncio.AbstractEventLoop, size: int) -> int:
    sleep, create_task, lock = waiting.namespace.sleep, loop.create_task, waiting.namespace.Lock()

    async def wait() -> None:
        async with lock:
            pass

    begin = process_time_ns()
    async with lock:
        waiters = [create_task(wait()) for _ in repeat(None, size)]
        await sleep(0)
    for waiter in waiters:
        await waiter
    return process_time_ns() - begin
