"""Tasks by dice: whatever tasks and futures do to one another, both loops tell the same story, turn by turn."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import turns

DEPTH = 4


class Forest:
    """Tasks that wait for futures, for one another and for time, and complete and cancel what they meet."""

    def __init__(self, diary: Diary, dice: random.Random) -> None:
        self._diary = diary
        self._dice = dice
        self.tasks: list[asyncio.Task[Any]] = []
        self._futures: list[asyncio.Future[Any]] = [diary.loop.create_future() for _ in range(4)]

    def grow(self, name: str) -> asyncio.Task[Any]:
        task = self._diary.loop.create_task(self._live(name), name=name)
        self.tasks.append(task)
        return task

    async def _live(self, name: str) -> str:
        dice, diary = self._dice, self._diary
        for number in range(dice.randrange(1, 5)):
            what = dice.choice(ACTIONS)
            if len(name) > DEPTH and what in GROWS:
                what = Forest._pause
            diary(name, number, what.__name__, asyncio.current_task().get_name())  # type: ignore[union-attr]
            try:
                diary(name, "got", await what(self, f"{name}{number}"))
            except asyncio.CancelledError as error:
                diary(name, "cancelled", error, asyncio.current_task().cancelling())  # type: ignore[union-attr]
                if dice.randrange(3):
                    raise
                asyncio.current_task().uncancel()  # type: ignore[union-attr]
            except (ValueError, TimeoutError, asyncio.InvalidStateError, BaseExceptionGroup) as error:
                diary(name, "raised", error)
        if not dice.randrange(6):
            raise ValueError(name)
        return name

    async def _pause(self, _name: str) -> None:
        await asyncio.sleep(0)

    async def _wait(self, _name: str) -> object:
        return await self._dice.choice(self._futures)

    async def _shielded(self, _name: str) -> object:
        return await asyncio.shield(self._dice.choice(self._futures))

    async def _complete(self, name: str) -> None:
        place = self._dice.randrange(len(self._futures))
        future, self._futures[place] = self._futures[place], self._diary.loop.create_future()
        match self._dice.randrange(4):
            case 0:
                future.cancel(name)
            case 1:
                future.set_exception(ValueError(name))
                future.exception()
            case _:
                future.add_done_callback(lambda future: self._diary(name, "done", future))
                future.set_result(name)
        if self._dice.randrange(2):
            future.set_result(name)

    async def _cancel(self, name: str) -> bool:
        return self._dice.choice(self.tasks).cancel(name)

    async def _spawn(self, name: str) -> None:
        self.grow(name)

    async def _child(self, name: str) -> object:
        return await self.grow(name)

    async def _any_task(self, _name: str) -> object:
        task = self._dice.choice(self.tasks)
        if task is asyncio.current_task() or not task.done():
            # Two that wait for one another would wait for ever.
            return task.done()
        return await task

    async def _gather(self, name: str) -> object:
        children = [self.grow(f"{name}{number}") for number in range(2)]
        return await asyncio.gather(*children, return_exceptions=bool(self._dice.randrange(2)))

    async def _group(self, name: str) -> object:
        # One child: a group cancels its children in the order of a set.
        async with asyncio.TaskGroup() as group:
            child = group.create_task(self._live(f"{name}0"), name=f"{name}0")
            self.tasks.append(child)
        return child.result()

    async def _limited(self, name: str) -> object:
        return await asyncio.wait_for(self.grow(name), None)


ACTIONS: list[Callable[[Forest, str], Awaitable[object]]] = [
    Forest._pause,
    Forest._pause,
    Forest._wait,
    Forest._shielded,
    Forest._complete,
    Forest._complete,
    Forest._cancel,
    Forest._spawn,
    Forest._child,
    Forest._any_task,
    Forest._gather,
    Forest._group,
    Forest._limited,
]
GROWS = {Forest._spawn, Forest._child, Forest._gather, Forest._group, Forest._limited}


@pytest.mark.parametrize("seed", range(60))
def test_tasks_that_wait_for_and_cancel_one_another(scenario: Play, seed: int) -> None:
    async def play(diary: Diary) -> None:
        forest = Forest(diary, random.Random(seed))
        diary.count_turns()
        for letter in "abcdef":
            forest.grow(letter)
        await turns(40)
        while pending := [task for task in forest.tasks if not task.done()]:
            for task in pending:
                task.cancel("the end")
            await turns(3)
        for task in forest.tasks:
            diary(task.get_name(), "cancelled" if task.cancelled() else task.exception() or task.result())

    scenario(play)
