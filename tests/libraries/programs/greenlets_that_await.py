"""Greenlets that await by switching to a coroutine, as SQLAlchemy's do; one that leaves a callback half done."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import greenlet
import loop_under_test


def wait(awaitable: Any) -> Any:
    return greenlet.getcurrent().parent.switch(awaitable)


async def spawn(function: Callable[..., Any], *arguments: Any) -> Any:
    child = greenlet.greenlet(function)
    result = child.switch(*arguments)
    while not child.dead:
        try:
            value = await result
        except BaseException:
            result = child.throw(*sys.exc_info())
        else:
            result = child.switch(value)
    return result


def without_async(number: int) -> list[Any]:
    slept = [wait(asyncio.sleep(0, number + step)) for step in range(3)]
    try:
        wait(asyncio.wait_for(asyncio.Event().wait(), 0.01))
    except TimeoutError:
        slept.append("timeout")
    return slept


async def main() -> None:
    loop_under_test.check()
    assert await asyncio.gather(*(spawn(without_async, number) for number in range(3))) == [
        [number, number + 1, number + 2, "timeout"] for number in range(3)
    ]


def run_that_is_left() -> str:
    async def wait_a_little() -> str:
        asyncio.get_running_loop().call_soon(outside.switch)
        return await asyncio.sleep(0.01, "ended")

    return asyncio.run(wait_a_little())


asyncio.run(main())
outside = greenlet.getcurrent()
inside = greenlet.greenlet(run_that_is_left)
assert inside.switch() == ()
assert inside.switch() == "ended"
