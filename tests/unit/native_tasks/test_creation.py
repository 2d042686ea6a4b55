"""Making native tasks, and the cases in which asyncio's or a program's own task is made instead."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import ferrio

from ..loops import LIMIT_S, ferrio_only, run
from .coroutines import nothing


@ferrio_only
def test_a_loop_makes_tasks_that_are_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert type(task) is ferrio.Task
        assert isinstance(task, asyncio.Task)
        assert isinstance(task, ferrio.Future)
        assert type(asyncio.create_task(nothing())) is ferrio.Task
        assert type(asyncio.ensure_future(nothing())) is ferrio.Task
        async with asyncio.TaskGroup() as group:
            assert type(group.create_task(nothing())) is ferrio.Task

    run(loop, main())
    assert ferrio.Task.__basicsize__ == asyncio.Task.__basicsize__


@ferrio_only
def test_the_type_can_be_derived_from(loop: asyncio.AbstractEventLoop) -> None:
    class Own(ferrio.Task[int]):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            self.asked = 0
            super().__init__(*args, **keywords)

        def cancel(self, msg: Any = None) -> bool:
            self.asked += 1
            return super().cancel(msg)

    async def main() -> None:
        task = Own(asyncio.sleep(10, 1), loop=loop, name="own")
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
            await task
        assert (task.asked, task.get_name()) == (1, "own")

    run(loop, main())


@pytest.mark.parametrize(
    "keywords",
    [{}, {"name": "text"}, {"name": 5}, {"name": None}, {"context": None}],
    ids=repr,
)
def test_create_task_takes_asyncios_keywords(loop: asyncio.AbstractEventLoop, keywords: dict[str, Any]) -> None:
    async def main() -> None:
        create: Any = loop.create_task
        task = create(nothing(), **keywords)
        await task
        expected = keywords.get("name")
        assert task.get_name() == str(expected) if expected is not None else task.get_name().startswith("Task-")

    run(loop, main())


def test_create_task_refuses_what_asyncio_refuses(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        create: Any = loop.create_task
        for args, keywords in (((), {}), ((1,), {}), ((None,), {"name": "x"})):
            with pytest.raises(TypeError):
                create(*args, **keywords)
        coroutine = nothing()
        with pytest.raises(TypeError):
            create(coroutine, unknown=1)
        with pytest.raises(TypeError):
            create(coroutine, coroutine)
        coroutine.close()
        with pytest.raises(TypeError, match="a coroutine was expected, got <function nothing"):
            create(nothing)

    run(loop, main())
    loop.close()
    coroutine = nothing()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_a_task_factory_makes_the_tasks(loop: asyncio.AbstractEventLoop) -> None:
    made: list[Any] = []

    def factory(loop: Any, coroutine: Any, **keywords: Any) -> Any:
        made.append(asyncio.Task(coroutine, loop=loop, **keywords))
        return made[-1]

    async def main() -> None:
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        task = loop.create_task(nothing(), name="named")
        assert task is made[0]
        assert task.get_name() == "named"
        await task
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None
        await loop.create_task(nothing())
        assert len(made) == 1

    run(loop, main())


@ferrio_only
def test_a_class_put_in_the_place_of_asyncios_is_used(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(asyncio.Task[Any]):
        pass

    async def main() -> None:
        monkeypatch.setattr(asyncio.tasks, "Task", Other)
        assert type(loop.create_task(nothing())) is Other
        monkeypatch.undo()
        assert type(loop.create_task(nothing())) is ferrio.Task

    run(loop, main())


def test_reinitializing_a_task_leaks_nothing_and_runs_again(loop: asyncio.AbstractEventLoop) -> None:
    if sys.version_info >= (3, 15):
        pytest.skip("from 3.15 on a task is initialized once")

    async def main() -> None:
        task: Any = asyncio.create_task(asyncio.sleep(0, 1))
        assert await task == 1
        task.__init__(asyncio.sleep(0, 2), loop=loop)
        assert await task == 2

    run(loop, main())


def test_importing_ferrio_leaves_no_tasks_and_uses_no_numbers() -> None:
    program = """
import asyncio, gc
gc.disable()
import ferrio
from _asyncio import Task
assert not [each for each in gc.get_objects() if isinstance(each, asyncio.Future)]
async def main():
    return asyncio.current_task().get_name()
print(asyncio.run(main()), ferrio.run(main()))
"""
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S * 4, check=True
    )
    assert (out.stdout, out.stderr) == ("Task-1 Task-1\n", "")


def test_an_interpreter_with_unknown_fields_keeps_its_own_tasks() -> None:
    program = """
import _asyncio, asyncio
known = _asyncio.Task
class Longer(known):
    __slots__ = ("another",)
_asyncio.Task = Longer
import ferrio
assert ferrio.Task is Longer and ferrio.Future is asyncio.Future
async def child():
    await asyncio.sleep(0)
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 5)
    return await future
async def main():
    task = asyncio.create_task(child())
    assert type(task) is known
    return await task
print(ferrio.run(main()), ferrio.run(main(), debug=True))
"""
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S * 4, check=True
    )
    assert (out.stdout, out.stderr) == ("5 5\n", "")
