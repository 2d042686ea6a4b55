"""Tasks, callbacks and primitives that fail."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from ...socket_pairs import without_blocking
from .ways import SHORT_S, Failed, World, awaiting, cancelled, expected, fail, failure, timed_out, turns


@failure
async def callbacks_that_fail(world: World) -> None:
    world.loop.call_soon(fail)
    world.loop.call_soon_threadsafe(fail)
    world.loop.call_later(0, fail)
    future = world.loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)
    with without_blocking(socket.socketpair()) as (ours, theirs):
        world.loop.add_reader(ours, fail)
        theirs.send(b"x")
        await turns()
        world.loop.remove_reader(ours)
    with expected():
        await world.loop.run_in_executor(None, fail)
    await asyncio.sleep(SHORT_S)


async def failing(count: int = 0) -> None:
    """Raise after *count* turns."""
    await turns(count)
    raise Failed


@failure
async def tasks_that_fail(world: World) -> None:
    with expected():
        await failing(1)
    for count in range(3):
        with expected():
            await world.loop.create_task(failing(count))
        with expected():
            await world.aio.wait_for(failing(count), 1)
        with expected():
            await world.aio.shield(failing(count))
        with expected():
            await world.aio.gather(failing(count), failing(count))
        await world.aio.gather(failing(count), failing(count), return_exceptions=True)
        done, _ = await world.aio.wait([world.loop.create_task(failing(count))])
        for task in done:
            task.exception()
        del done, task
        for each in world.aio.as_completed([failing(count), failing(count)]):
            with expected():
                await each
        del each
        with expected():
            async with world.aio.timeout(1):
                await failing(count)
    with expected():
        async with world.aio.TaskGroup() as group:
            group.create_task(failing(1))
            group.create_task(failing(2))
    await turns()


def waits(world: World) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    """Waits of every kind that nothing completes."""
    aio = world.aio
    lock, semaphore, queue, barrier = aio.Lock(), aio.Semaphore(0), aio.Queue(1), aio.Barrier(2)
    queue.put_nowait(None)

    async def locked() -> None:
        async with lock, lock:
            pass

    async def told() -> None:
        condition = aio.Condition()
        async with condition:
            await condition.wait()

    async def grouped() -> None:
        async with aio.TaskGroup() as group:
            group.create_task(aio.sleep(10))

    async def within() -> None:
        async with aio.timeout(10):
            await aio.sleep(10)

    return [
        lambda: aio.sleep(10),
        locked,
        told,
        grouped,
        within,
        lambda: semaphore.acquire(),
        lambda: queue.put(None),
        lambda: aio.Queue().get(),
        lambda: queue.join(),
        lambda: barrier.wait(),
        lambda: aio.Event().wait(),
        lambda: aio.wait_for(world.loop.create_future(), 10),
        lambda: aio.wait_for(aio.sleep(10), 10),
        lambda: aio.wait([world.loop.create_future()]),
        lambda: awaiting(lambda: aio.gather(aio.sleep(10), aio.sleep(10))),
        lambda: awaiting(lambda: aio.shield(world.loop.create_future())),
    ]


@failure
async def waits_that_are_cancelled(world: World) -> None:
    for make in waits(world):
        await cancelled(make(), 3)
    await turns()


@failure
async def waits_that_take_too_long(world: World) -> None:
    for make in waits(world):
        await timed_out(world, make())
    with expected():
        async with world.aio.timeout(SHORT_S):
            await world.aio.sleep(1)
    await turns()
