"""The steps of a native task: how they are scheduled and seen, in which context they run, how they fail."""

import asyncio
import contextvars
import logging
import sys
from typing import Any

import pytest

import ferrio

from ..loops import ferrio_only, run, run_until
from .coroutines import nothing, wait_for

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")


@ferrio_only
@pytest.mark.parametrize("place", ["instance", "class"])
def test_tasks_go_through_a_call_soon_that_a_program_has_put_there(place: str) -> None:
    called: list[Any] = []

    class Own(ferrio.Loop):
        if place == "class":

            def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
                called.append(callback)
                return super().call_soon(callback, *args, context=context)

    async def main(future: asyncio.Future[int]) -> int:
        await asyncio.sleep(0)
        return await future

    loop = Own()
    try:
        if place == "instance":
            inherited = loop.call_soon

            def call_soon(callback: Any, *args: Any, context: Any = None) -> Any:
                called.append(callback)
                return inherited(callback, *args, context=context)

            loop.call_soon = call_soon  # type: ignore[method-assign, assignment]
        future = loop.create_future()
        task = loop.create_task(main(future))
        # A timer might be due before the task waits.
        run_until(loop, lambda: task._fut_waiter is future)  # type: ignore[attr-defined]
        future.set_result(3)
        assert loop.run_until_complete(task) == 3
        assert [
            getattr(callback, "__name__", "") for callback in called if getattr(callback, "__self__", None) is task
        ] == [
            "task_step",
            "task_step",
            "task_wakeup",
        ]
    finally:
        loop.close()


def test_each_task_runs_in_its_own_context(loop: asyncio.AbstractEventLoop) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def add(number: int) -> int:
        variable.set(variable.get() + number)
        await asyncio.sleep(0)
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        return variable.get()

    async def main() -> None:
        variable.set(1)
        assert await asyncio.gather(add(1), add(2), add(3)) == [2, 3, 4]
        assert variable.get() == 1
        shared = contextvars.copy_context()
        first = loop.create_task(add(10), context=shared)
        assert await first == 11
        assert shared[variable] == 11
        assert await loop.create_task(add(10), context=shared) == 21

    run(loop, main())


def test_a_task_is_seen_as_running_pending_and_done(loop: asyncio.AbstractEventLoop) -> None:
    async def child() -> None:
        assert asyncio.current_task() is task
        assert asyncio.all_tasks() == {task, parent}
        await asyncio.sleep(0)

    async def main() -> None:
        nonlocal task, parent
        parent = asyncio.current_task()
        task = asyncio.create_task(child())
        assert asyncio.all_tasks() == {task, parent}
        await task
        assert asyncio.current_task() is parent
        assert asyncio.all_tasks() == {parent}

    task: Any = None
    parent: Any = None
    loop.run_until_complete(asyncio.wait_for(main(), None))
    assert asyncio.all_tasks(loop) == set()


def test_the_stack_of_a_task_is_where_it_waits(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        task = asyncio.create_task(wait_for(future))
        await asyncio.sleep(0)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["wait_for"]
        assert task.get_coro().__name__ == "wait_for"  # type: ignore[union-attr]
        future.set_result(None)
        await task
        assert task.get_stack() == []

    run(loop, main())


@eager
def test_a_task_that_starts_eagerly_may_be_done_at_once(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        kind: Any = type(asyncio.current_task())
        around = asyncio.current_task()
        ran: list[object] = []

        async def child(wait: bool) -> str:
            ran.append(asyncio.current_task())
            if wait:
                await asyncio.sleep(0)
            return "result"

        task = kind(child(False), loop=loop, eager_start=True)
        assert task.done()
        assert task.result() == "result"
        assert ran == [task]
        assert asyncio.current_task() is around
        waiting = kind(child(True), loop=loop, eager_start=True)
        assert ran == [task, waiting]
        assert not waiting.done()
        assert waiting in asyncio.all_tasks()
        assert task not in asyncio.all_tasks()
        assert await waiting == "result"

    run(loop, main())


def test_a_step_that_cannot_be_made_goes_to_the_exception_handler(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    coroutine = nothing()
    task: Any = loop.create_task(coroutine)
    of_future: Any = asyncio.Future
    of_future.set_result(task, "behind its back")
    assert loop.run_until_complete(task) == "behind its back"
    coroutine.close()
    (context,) = contexts
    assert sorted(context) == ["exception", "handle", "message"]
    assert context["message"].startswith("Exception in callback ")
    assert type(context["exception"]) is asyncio.InvalidStateError
    assert "step(): already done: <Task finished" in str(context["exception"])
    contexts.clear()


def test_keyboard_interrupt_and_system_exit_leave_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def leave(error: type[BaseException]) -> None:
        raise error

    for error in (KeyboardInterrupt, SystemExit):
        task = loop.create_task(leave(error))
        with pytest.raises(error):
            loop.run_forever()
        assert type(task.exception()) is error


def test_slow_steps_are_reported_in_debug_mode(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow() -> None:
        await asyncio.sleep(0)
        loop.slow_callback_duration = 0.0

    loop.set_debug(True)
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        task = loop.create_task(slow(), name="the slow one")
        loop.run_until_complete(task)
    assert any("Executing <Task" in message and "the slow one" in message for message in caplog.messages)
    assert task._source_traceback[-1].name == "test_slow_steps_are_reported_in_debug_mode"  # type: ignore[attr-defined]
