"""Processes of a pool, however they are started, run on the loop of who started them."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import loop_under_test


async def of_the_worker() -> str:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def in_the_worker() -> str:
    return asyncio.run(of_the_worker())


async def main(method: str) -> None:
    loop_under_test.check()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        loop = asyncio.get_running_loop()
        names = await asyncio.gather(*(loop.run_in_executor(pool, in_the_worker) for _ in range(4)))
    assert set(names) == {loop_under_test.NAME}, names


if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        asyncio.run(main(method))
