"""aiodebug replaces ``Handle._run`` to log slow callbacks and steps of tasks, while the loop runs."""

import asyncio
import time

import aiodebug.log_slow_callbacks
import loop_under_test

slow: list[str] = []


async def slow_step() -> None:
    await asyncio.sleep(0)
    time.sleep(0.1)


async def main() -> None:
    loop_under_test.check()
    aiodebug.log_slow_callbacks.enable(0.05, on_slow_callback=lambda name, _: slow.append(name))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 0.1)
    await asyncio.create_task(slow_step())


asyncio.run(main())
assert len(slow) >= 2, slow
assert any("sleep" in name for name in slow), slow
assert any("slow_step" in name for name in slow), slow
