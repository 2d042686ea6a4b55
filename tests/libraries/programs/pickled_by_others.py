"""dill and cloudpickle keep asyncio's names; tblib keeps the tracebacks of errors that come out of awaits."""

import asyncio
import pickle
import traceback
from typing import Any

import cloudpickle
import dill
import loop_under_test
import tblib.pickling_support

tblib.pickling_support.install()
NAMES = ["sleep", "wait_for", "gather", "timeout", "Queue", "Lock", "Event", "TaskGroup", "Future", "StreamReader"]


async def double(number: int) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue()
    await queue.put(2 * number)
    await asyncio.sleep(0)
    return await asyncio.wait_for(queue.get(), 5)


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("theirs")


async def main() -> None:
    loop_under_test.check()
    for library in (dill, cloudpickle):
        for name in NAMES:
            assert pickle.loads(library.dumps(getattr(asyncio, name))) is getattr(asyncio, name)
        for primitive in (asyncio.Lock(), asyncio.Event(), asyncio.Queue(3), asyncio.Semaphore(2)):
            assert type(pickle.loads(library.dumps(primitive))) is type(primitive)
    for pickled in (dill.dumps(double, recurse=True), cloudpickle.dumps(double)):
        assert await pickle.loads(pickled)(4) == 8
    awaitables: list[Any] = [fail(), asyncio.wait_for(fail(), 5), asyncio.gather(fail()), asyncio.shield(fail())]
    for awaitable in awaitables:
        try:
            await awaitable
        except ValueError as error:
            copied = pickle.loads(pickle.dumps(error))
            assert traceback.extract_tb(copied.__traceback__)[-1].name == "fail"


asyncio.run(main())
