"""Callbacks, timers, tasks, futures and the primitives over them: the same order, turn by turn."""

import asyncio
import contextvars
import gc
import random
import sys
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import turns

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_callbacks_that_add_callbacks(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        dice = random.Random(5)
        diary.count_turns()

        def run(path: str) -> None:
            diary(path)
            for number in range(dice.randrange(3) if len(path) < 8 else 0):
                match dice.randrange(3):
                    case 0:
                        diary.loop.call_soon(run, f"{path}{number}")
                    case 1:
                        diary.loop.call_soon_threadsafe(run, f"{path}{number}")
                    case 2:
                        handle = diary.loop.call_soon(run, f"{path}{number}")
                        diary.loop.call_soon(handle.cancel)

        for number in range(6):
            diary.loop.call_soon(run, str(number))
        await turns(12)

    scenario_in_both_modes(play)


def test_timers_among_callbacks(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        base = loop.time()
        for number in (3, 1, 2, 0):
            loop.call_at(base - 1 + number * 0.01, diary, "past", number)
        loop.call_later(-5, diary, "long past")
        loop.call_soon(diary, "ready")
        late = loop.call_later(0.1, diary, "late")
        loop.call_later(0.05, lambda: (diary("early"), late.cancel()))
        loop.call_later(0.15, diary, "last")
        diary.loop.call_later(0, loop.call_later, 0, diary, "nested")
        await asyncio.sleep(0.25)
        diary("handles", late.cancelled(), repr(late))

    scenario(play)


def test_tasks_interleave(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> list[Any]:
        async def walk(name: str, steps: int) -> str:
            for number in range(steps):
                diary(name, number)
                await asyncio.sleep(0)
            return name

        async def parent() -> list[str]:
            children = [asyncio.create_task(walk(f"child {n}", n), name=f"child {n}") for n in range(4)]
            await asyncio.sleep(0)
            return [await child for child in children]

        diary.count_turns()
        results = await asyncio.gather(parent(), walk("a", 3), walk("b", 2), parent())
        return list(results)

    scenario_in_both_modes(play)


def test_futures_and_their_callbacks(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        diary.count_turns()
        future = loop.create_future()
        for number in range(3):
            future.add_done_callback(lambda _, number=number: diary("callback", number))
        removed = lambda _: diary("removed")  # noqa: E731
        future.add_done_callback(removed)
        diary("count", future.remove_done_callback(removed))
        loop.call_soon(future.set_result, "result")
        diary("awaited", await future)
        future.add_done_callback(lambda _: diary("late callback"))
        await turns(2)
        with diary.raises("twice"):
            future.set_result(1)
        with diary.raises("StopIteration"):
            loop.create_future().set_exception(StopIteration())
        with diary.raises("pending"):
            loop.create_future().result()

    scenario(play)


@pytest.mark.parametrize("kind", ["sleep", "future", "gather", "shield", "wait_for", "event", "queue", "lock"])
def test_cancelling_a_task_that_waits(scenario: Play, kind: str) -> None:
    async def play(diary: Diary) -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        waits: dict[str, Any] = {
            "sleep": lambda: asyncio.sleep(3600),
            "future": lambda: diary.loop.create_future(),
            "gather": lambda: asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600)),
            "shield": lambda: asyncio.shield(inner),
            "wait_for": lambda: asyncio.wait_for(diary.loop.create_future(), 3600),
            "event": lambda: asyncio.Event().wait(),
            "queue": lambda: asyncio.Queue[int]().get(),
            "lock": lock.acquire,
        }

        async def work() -> None:
            try:
                await waits[kind]()
            except asyncio.CancelledError as error:
                diary("cancelled", error)
                raise
            finally:
                diary("cleaning up")
                await asyncio.sleep(0)
                diary("clean")

        diary.count_turns()
        task = asyncio.create_task(work())
        await turns(3)
        diary("cancel", task.cancel("because"), task.cancelling())
        with diary.raises("awaited"):
            await task
        diary("state", task.done(), task.cancelled())
        inner.cancel()
        await turns(2)

    scenario(play)


def test_timeouts(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def slow() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                diary("slow ended")

        with diary.raises("wait_for"):
            await asyncio.wait_for(slow(), 0.002)
        with diary.raises("wait_for at once"):
            await asyncio.wait_for(slow(), 0)
        with diary.raises("timeout"):
            async with asyncio.timeout(0.002) as scope:
                await slow()
        diary("expired", scope.expired())
        with diary.raises("nested"):
            async with asyncio.timeout(3600):
                async with asyncio.timeout(0.002):
                    await slow()
        async with asyncio.timeout(None) as scope:
            scope.reschedule(diary.loop.time() + 3600)
            diary("in time")
        done, pending = await asyncio.wait([asyncio.ensure_future(slow())], timeout=0.002)
        diary("wait", len(done), len(pending))
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)

    scenario(play)


def test_a_task_group_with_failures(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def work(name: str, error: BaseException | None, steps: int) -> None:
            try:
                await turns(steps)
                if error is not None:
                    raise error
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                diary(name, "cancelled")
                raise
            finally:
                diary(name, "ended")

        diary.count_turns()
        with diary.raises("group"):
            async with asyncio.TaskGroup() as group:
                group.create_task(work("fails", ValueError("first"), 2))
                group.create_task(work("fails too", OSError(2, "second"), 2))
                group.create_task(work("waits", None, 0))
                diary("body")
        with diary.raises("empty group"):
            async with asyncio.TaskGroup():
                raise LookupError("body")

    scenario(play)


def test_what_nobody_awaited(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        async def fail() -> None:
            raise ValueError("theirs")

        async def wait() -> None:
            await diary.loop.create_future()

        task: Any = asyncio.create_task(fail(), name="failing")
        await turns(2)
        del task
        gc.collect()
        future: Any = diary.loop.create_future()
        future.set_exception(ValueError("in a future"))
        del future
        gc.collect()
        pending: Any = diary.loop.create_task(wait(), name="pending")
        await turns(2)
        del pending
        gc.collect()
        fail().close()
        fail()  # type: ignore[unused-coroutine]
        gc.collect()

    scenario_in_both_modes(play)


def test_a_task_that_exits(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def leave() -> None:
            diary("leaving")
            raise SystemExit(7)

        task = asyncio.create_task(leave())
        await turns(3)
        diary("not reached")
        await task

    seen = scenario(play)
    assert seen.raised == {"type": "SystemExit", "args": [7]}


def test_primitives_wake_in_order(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        lock, event, condition = asyncio.Lock(), asyncio.Event(), asyncio.Condition()
        semaphore, queue, barrier = asyncio.Semaphore(2), asyncio.Queue[int](2), asyncio.Barrier(3)

        async def user(number: int) -> None:
            async with lock:
                diary("lock", number)
                await asyncio.sleep(0)
            async with semaphore:
                diary("semaphore", number)
                await asyncio.sleep(0)
            await event.wait()
            diary("event", number)
            async with condition:
                await condition.wait()
                diary("condition", number)
            await queue.put(number)
            diary("put", number)
            if number < 3:
                diary("barrier", number, await barrier.wait())

        diary.count_turns()
        tasks = [asyncio.create_task(user(number)) for number in range(5)]
        await turns(20)
        event.set()
        await turns(5)
        async with condition:
            condition.notify(2)
        await turns(5)
        async with condition:
            condition.notify_all()
        await turns(5)
        for _ in range(5):
            diary("get", await queue.get())
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    scenario(play)


def test_contexts_follow_callbacks_tasks_and_timers(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop

        def look(name: str) -> None:
            diary(name, variable.get())
            variable.set("changed by " + name)

        async def task(name: str) -> None:
            look(name)
            await asyncio.sleep(0)
            look(name)

        variable.set("main")
        loop.call_soon(look, "call_soon")
        loop.call_soon_threadsafe(look, "call_soon_threadsafe")
        loop.call_later(0, look, "call_later")
        mine = contextvars.copy_context()
        for number in range(2):
            loop.call_soon(look, f"given {number}", context=mine)
        future = loop.create_future()
        future.add_done_callback(lambda _: look("done callback"))
        future.set_result(None)
        await asyncio.gather(task("first"), asyncio.create_task(task("second"), context=mine))
        await loop.run_in_executor(None, look, "executor")
        await asyncio.to_thread(look, "thread")
        variable.set("main again")
        await task("direct")
        look("end")

    scenario(play)


def test_a_context_that_is_entered_already(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        mine = contextvars.copy_context()

        async def inner() -> None:
            diary.loop.call_soon(diary, "not reached", context=mine)
            # This task runs within the context, and the callback comes in a turn of its own.
            await turns(2)
            diary("inner ended")

        await asyncio.create_task(inner(), context=mine)

    scenario(play)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def quick() -> str:
            diary("quick")
            return "quick"

        async def slow() -> str:
            diary("slow")
            await asyncio.sleep(0)
            diary("slow again")
            return "slow"

        diary.loop.set_task_factory(asyncio.eager_task_factory)
        diary.count_turns()
        for make in (quick, slow):
            task = asyncio.create_task(make())
            diary("made", task.done())
            diary("result", await task)

    scenario(play)


def test_asynchronous_generators_at_the_end(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def generate(name: str) -> Any:
            try:
                yield 1
                yield 2
            finally:
                diary(name, "closing")
                await asyncio.sleep(0)
                diary(name, "closed")

        kept = generate("kept")
        diary.loop.kept = kept  # type: ignore[attr-defined]
        await anext(kept)
        forgotten = generate("forgotten")
        await anext(forgotten)
        del forgotten
        gc.collect()
        await turns(3)

    seen = scenario(play)
    assert seen.entries[-1] == ["kept", "closed"]


def test_wrong_uses_of_the_loop(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        for name, args in {
            "run_until_complete": (loop.create_future(),),
            "close": (),
            "call_soon": (),
            "set_exception_handler": (1,),
            "set_task_factory": (1,),
            "set_default_executor": (1,),
            "create_task": (1,),
            "run_in_executor": (None, None),
        }.items():
            with diary.raises(name):
                result = getattr(loop, name)(*args)
                if name == "run_in_executor":
                    await result
        with diary.raises("asyncio.run"):
            coroutine = asyncio.sleep(0)
            try:
                asyncio.run(coroutine)
            finally:
                coroutine.close()
        diary("loop", repr(loop), loop.is_running(), loop.is_closed())

    scenario(play)


def test_wrong_callbacks_in_debug_mode(scenario_in_debug: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop

        async def coroutine() -> None:
            pass

        for method in ("call_soon", "call_soon_threadsafe"):
            for callback in (coroutine, 1, None, "text"):
                with diary.raises(method):
                    getattr(loop, method)(callback)

        def from_elsewhere() -> None:
            for method, args in {"call_soon": (print,), "call_later": (1, print), "call_at": (1, print)}.items():
                with diary.raises(f"{method} in a thread"):
                    getattr(loop, method)(*args)

        await asyncio.to_thread(from_elsewhere)

    scenario_in_debug(play)


def test_callbacks_that_fail(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        def fail(*args: object) -> None:
            raise ValueError("theirs", *args)

        loop: Any = diary.loop
        loop.call_soon(fail)
        loop.call_soon(fail, 1, "two")
        loop.call_soon_threadsafe(fail)
        loop.call_later(0, fail)
        with diary.raises("text"):
            loop.call_soon("text")
        loop.call_soon(int, "no number")
        future = loop.create_future()
        future.add_done_callback(fail)
        future.set_result(None)
        await asyncio.sleep(0.001)

    seen = scenario_in_both_modes(play)
    assert len(seen.contexts) in (6, 7)


def test_an_exception_handler_that_fails(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        def broken(loop: Any, context: Any) -> None:
            diary("handler", context["message"])
            raise LookupError("the handler's")

        diary.loop.set_exception_handler(broken)
        diary.loop.call_soon(lambda: 1 // 0)
        await turns(2)
        diary.loop.set_exception_handler(None)
        diary.loop.call_soon(lambda: 1 // 0)
        await turns(2)
        diary.loop.call_exception_handler({"message": "by hand", "anything": 1})

    scenario(play)
