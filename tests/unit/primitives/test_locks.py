"""Locks under asyncio's own conditions."""

import asyncio
import asyncio as stdlib

from ..loops import run
from .namespace import ours


def test_asyncios_condition_works_over_the_lock(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[int]:
        condition = stdlib.Condition(ours.Lock())
        passed: list[int] = []

        async def wait(number: int) -> None:
            async with condition:
                await condition.wait()
                passed.append(number)

        tasks = [stdlib.create_task(wait(number)) for number in range(3)]
        await stdlib.sleep(0)
        async with condition:
            condition.notify_all()
        await stdlib.gather(*tasks)
        return passed

    assert run(loop, main()) == [0, 1, 2]
