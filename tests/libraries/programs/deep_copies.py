"""pydantic's deep copies and cloudpickle's pickles of what holds primitives and functions."""

import asyncio
import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import loop_under_test
import pydantic


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    lock: asyncio.Lock = pydantic.Field(default_factory=asyncio.Lock)
    queue: asyncio.Queue[int] = pydantic.Field(default_factory=asyncio.Queue)
    limit: asyncio.Semaphore = asyncio.Semaphore(3)
    pause: Callable[..., Any] = asyncio.sleep
    events: dict[str, asyncio.Event] = {"started": asyncio.Event()}


@dataclasses.dataclass
class Service:
    settings: Settings = dataclasses.field(default_factory=Settings)
    ready: asyncio.Condition = dataclasses.field(default_factory=asyncio.Condition)


async def main() -> None:
    loop_under_test.check()
    service = Service()
    service.settings.queue.put_nowait(7)
    service.settings.events["started"].set()
    for copied in (
        copy.deepcopy(service),
        Service(**dataclasses.asdict(service)),
        pickle.loads(cloudpickle.dumps(service)),
        dataclasses.replace(service, settings=service.settings.model_copy(deep=True)),
    ):
        settings = copied.settings
        assert settings.queue is not service.settings.queue or copied is not service
        assert settings.pause is asyncio.sleep
        assert settings.events["started"].is_set()
        async with copied.ready, settings.lock, settings.limit:
            assert settings.lock.locked()
            await settings.pause(0)
            copied.ready.notify_all()
    assert service.settings.queue.qsize() == 1

    async def by_value(seconds: float) -> str:
        async with asyncio.timeout(5), lock:
            return (await asyncio.gather(asyncio.sleep(seconds, "here"), asyncio.wait_for(asyncio.sleep(0), 1)))[0]

    lock = asyncio.Lock()
    by_value.__module__ = "__main__"
    again = pickle.loads(cloudpickle.dumps(by_value))
    assert await again(0.001) == "here"


asyncio.run(main())
