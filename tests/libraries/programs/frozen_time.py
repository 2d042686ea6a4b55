"""freezegun: a loop's time stands and goes on with what a program ticks, or stays real where it is told so."""

import asyncio
import datetime
import time

import freezegun
import loop_under_test


async def ticked(frozen: freezegun.api.FrozenDateTimeFactory) -> None:
    loop_under_test.check()
    loop, rung = asyncio.get_running_loop(), []
    before = loop.time()
    loop.call_later(60, rung.append, "timer")
    sleeping = asyncio.create_task(asyncio.sleep(90))
    await asyncio.sleep(0)
    frozen.tick(61)
    for _ in range(3):
        await asyncio.sleep(0)
    assert loop.time() == before + 61
    assert (rung, sleeping.done()) == (["timer"], False)
    frozen.tick(30)
    await sleeping


async def real() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    await asyncio.sleep(0.01)
    assert loop.time() >= before + 0.009
    assert datetime.datetime.now() == datetime.datetime(2020, 1, 1)


async def within() -> None:
    with freezegun.freeze_time("2020-01-01", real_asyncio=True):
        await real()
    before = time.monotonic()
    await asyncio.sleep(0.01)
    assert time.monotonic() - before >= 0.009


with freezegun.freeze_time("2020-01-01") as frozen:
    asyncio.run(ticked(frozen))
with freezegun.freeze_time("2020-01-01", real_asyncio=True):
    asyncio.run(real())
asyncio.run(within())
