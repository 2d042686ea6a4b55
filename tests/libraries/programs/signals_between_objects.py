"""blinker holds receivers weakly: functions, and methods for as long as their object lives."""

import asyncio
import gc
from typing import Any

import blinker
import loop_under_test


async def main() -> None:
    loop_under_test.check()
    happened = blinker.Signal()
    event, queue = asyncio.Event(), asyncio.Queue[Any]()

    async def told(sender: object, **_: object) -> str:
        return f"told by {sender}"

    happened.connect(told)
    assert await happened.send_async("main") == [(told, "told by main")]
    happened.disconnect(told)

    happened.connect(queue.put_nowait)
    happened.send("first")
    assert queue.get_nowait() == "first"
    event_set = blinker.Signal()
    event_set.connect(event.set, weak=True)
    assert len(event_set.receivers) == 1
    gc.collect()
    assert list(event_set.receivers_for(None)) == [event.set]

    sleeping = blinker.Signal()
    sleeping.connect(asyncio.sleep)
    assert await sleeping.send_async(0) == [(asyncio.sleep, None)]

    del queue
    gc.collect()
    assert not list(happened.receivers_for(None))


asyncio.run(main())
