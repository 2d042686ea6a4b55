"""nest_asyncio: what nests runs, and what does not nest is as before."""

import asyncio

import loop_under_test
import nest_asyncio


async def double(value: int) -> int:
    await asyncio.sleep(0.001)
    return value * 2


async def plain() -> int:
    loop_under_test.check()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(double(value)) for value in range(3)]
    return sum(task.result() for task in tasks)


async def nesting() -> int:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    other = asyncio.create_task(double(10))
    inner = loop.run_until_complete(double(1)) + asyncio.run(double(2))
    assert asyncio.current_task() is this
    return inner + await other


with asyncio.Runner() as runner:
    runner.get_loop().call_soon(nest_asyncio.apply, runner.get_loop())
    assert runner.run(plain()) == 6
    assert runner.run(nesting()) == 26
nest_asyncio.apply()
assert asyncio.run(plain()) == 6
assert asyncio.run(nesting()) == 26
