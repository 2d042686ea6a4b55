"""What waiting costs: tasks, futures, ``sleep``, the functions and classes that are built on them.

Figures are CPU time of the process. :data:`namespace` is what a program would ``import ... as asyncio``: asyncio
itself, or ``ferrio.asyncio``.
"""

import asyncio
import gc
from itertools import repeat
from pathlib import Path
from time import process_time_ns
from types import ModuleType

from .registry import benchmark

namespace: ModuleType = asyncio


async def nothing() -> None:
    pass


@benchmark("one task of a burst: 5,000 tasks made, one turn of sleep(0) in each, all awaited", per_round=5_000)
async def spawn_burst(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    sleep = namespace.sleep

    async def child() -> None:
        await sleep(0)

    create_task = loop.create_task
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        for task in [create_task(child()) for _ in repeat(None, 5_000)]:
            await task
    return process_time_ns() - begin


@benchmark("one future made, set by the running task, and awaited by another that waits for it already")
async def future_handover(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    sleep, create_future = namespace.sleep, loop.create_future

    async def wait() -> None:
        nonlocal future
        for _ in repeat(None, rounds):
            future = create_future()
            await future

    future: asyncio.Future[None] = create_future()
    task = loop.create_task(wait())
    await sleep(0)
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        future.set_result(None)
        await sleep(0)
    await task
    return process_time_ns() - begin


@benchmark("one child of a TaskGroup of 100 empty coroutines", per_round=100)
async def task_group_100(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        async with namespace.TaskGroup() as group:
            for _ in repeat(None, 100):
                group.create_task(nothing())
    return process_time_ns() - begin


@benchmark("one future of a wait for 100 tasks of empty coroutines, and its task", per_round=100)
async def wait_100(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    function, create_task = namespace.wait, loop.create_task
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        await function([create_task(nothing()) for _ in repeat(None, 100)])
    return process_time_ns() - begin


@benchmark("one of 100 empty coroutines that as_completed goes through", per_round=100)
async def as_completed_100(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    function = namespace.as_completed
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        for each in function([nothing() for _ in repeat(None, 100)]):
            await each
    return process_time_ns() - begin


@benchmark("one shield around a coroutine that lets the loop turn once")
async def shield(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    function, sleep = namespace.shield, namespace.sleep
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        await function(sleep(0))
    return process_time_ns() - begin


@benchmark("one wait_for of a coroutine that lets the loop turn once")
async def wait_for(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    function, sleep = namespace.wait_for, namespace.sleep
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        await function(sleep(0), 60)
    return process_time_ns() - begin


@benchmark("one timeout(60) around nothing")
async def timeout(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    function = namespace.timeout
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        async with function(60):
            pass
    return process_time_ns() - begin


@benchmark("one async with of a Lock that nobody else wants")
async def lock_free(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    lock = namespace.Lock()
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        async with lock:
            pass
    return process_time_ns() - begin


@benchmark("one async with, around a turn, of a Lock that 10 tasks want", per_round=10)
async def lock_contended(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    lock, sleep = namespace.Lock(), namespace.sleep

    async def compete() -> None:
        for _ in repeat(None, rounds):
            async with lock:
                await sleep(0)

    begin = process_time_ns()
    await namespace.gather(*(compete() for _ in range(10)))
    return process_time_ns() - begin


@benchmark("one async with, around a turn, of a Semaphore(5) that 10 tasks want", per_round=10)
async def semaphore(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    places, sleep = namespace.Semaphore(5), namespace.sleep

    async def compete() -> None:
        for _ in repeat(None, rounds):
            async with places:
                await sleep(0)

    begin = process_time_ns()
    await namespace.gather(*(compete() for _ in range(10)))
    return process_time_ns() - begin


@benchmark("one wait for an Event that another task sets, and its clear")
async def event(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    ping, pong = namespace.Event(), namespace.Event()

    async def answer() -> None:
        for _ in repeat(None, rounds):
            await ping.wait()
            ping.clear()
            pong.set()

    begin = process_time_ns()
    task = loop.create_task(answer())
    for _ in repeat(None, rounds):
        ping.set()
        await pong.wait()
        pong.clear()
    await task
    # There are two waits in a round.
    return (process_time_ns() - begin) // 2


@benchmark("one put and one get of a Queue between two tasks, items by the hundred", per_round=100)
async def queue(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    items, sleep = namespace.Queue(), namespace.sleep

    async def consume() -> None:
        for _ in repeat(None, rounds * 100):
            await items.get()

    begin = process_time_ns()
    task = loop.create_task(consume())
    for _ in repeat(None, rounds):
        for number in range(100):
            await items.put(number)
        await sleep(0)
    await task
    return process_time_ns() - begin


@benchmark("one item handed over by a Queue(1), each put and each get waiting")
async def queue_of_one(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    items = namespace.Queue(1)

    async def consume() -> None:
        for _ in repeat(None, rounds):
            await items.get()

    begin = process_time_ns()
    task = loop.create_task(consume())
    for number in range(rounds):
        await items.put(number)
    await task
    return process_time_ns() - begin


@benchmark("one put and one get of a LifoQueue of 100 items", per_round=100)
async def lifo_queue(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    return await fill_and_empty(namespace.LifoQueue(), rounds)


@benchmark("one put and one get of a PriorityQueue of 100 items", per_round=100)
async def priority_queue(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    return await fill_and_empty(namespace.PriorityQueue(), rounds)


async def fill_and_empty(items: asyncio.Queue[int], rounds: int) -> int:
    numbers = [number * 37 % 100 for number in range(100)]
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        for number in numbers:
            await items.put(number)
        for _ in repeat(None, 100):
            await items.get()
    return process_time_ns() - begin


@benchmark("one task done and joined with, of 100 items in a Queue", per_round=100)
async def queue_join(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    items = namespace.Queue()
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        for number in range(100):
            items.put_nowait(number)
        for _ in repeat(None, 100):
            items.get_nowait()
            items.task_done()
        await items.join()
    return process_time_ns() - begin


@benchmark("one wait of a Condition that another task notifies")
async def condition(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    changed, turn = namespace.Condition(), 0

    async def play(mine: int) -> None:
        nonlocal turn
        for _ in repeat(None, rounds):
            async with changed:
                while turn != mine:
                    await changed.wait()
                turn = 1 - mine
                changed.notify()

    begin = process_time_ns()
    task = loop.create_task(play(1))
    await play(0)
    await task
    # Each of the two waits once in a round.
    return (process_time_ns() - begin) // 2


@benchmark("one wait of a Barrier for 10 tasks", per_round=10)
async def barrier(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    meeting = namespace.Barrier(10)

    async def meet() -> None:
        for _ in repeat(None, rounds):
            await meeting.wait()

    begin = process_time_ns()
    await namespace.gather(*(meet() for _ in range(10)))
    return process_time_ns() - begin


@benchmark("one sleep(0.001) of 20,000 at a time", per_round=20_000)
async def sleep_20k(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    sleep, gather = namespace.sleep, namespace.gather
    begin = process_time_ns()
    for _ in repeat(None, rounds):
        await gather(*[sleep(0.001) for _ in repeat(None, 20_000)])
    return process_time_ns() - begin


@benchmark("one of 100,000 tasks that wait for a future each: memory", per_round=100_000, unit="bytes")
async def pending_task(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    # Memory that was in use once is not given back: only the first round of a process shows what the tasks take.
    if rounds != 1:
        raise ValueError("memory is measured once in a process")

    async def wait() -> None:
        await loop.create_future()

    gc.collect()
    before = resident_bytes()
    tasks = [loop.create_task(wait()) for _ in repeat(None, 100_000)]
    await asyncio.sleep(0)
    taken = resident_bytes() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken


def resident_bytes() -> int:
    """What of this process is in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say how much memory is in use")
