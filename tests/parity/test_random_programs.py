"""Programs by Hypothesis: tasks that spawn, wait, cancel and share primitives leave the same trace, turn by turn.

A program is data: scripts of steps over a few shared objects. A ticker counts the turns and keeps the loop from
sleeping; time limits are over at once or never. After a number of turns whatever is left is cancelled, so a program
that deadlocks ends as well.

Each program is played with asyncio's own namespace on both loops, and with ``ferrio.asyncio`` on Ferrio's against
asyncio's on asyncio's.
"""

import asyncio
import contextvars
import gc
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import ferrio.asyncio

from .conftest import NAME, NEW_LOOP
from .observation import Diary, DidNotEnd, observe
from .protocols import turns

TURNS = 60
MOST_TASKS = 40

#: Which task it is. An eager task has its name only after its first step.
task_number: contextvars.ContextVar[int] = contextvars.ContextVar("task_number", default=0)

Step = tuple[Any, ...]
Script = list[Step]


# --- programs ---------------------------------------------------------------------------------------------------------

few = st.integers(0, 2)
queues = st.integers(0, 3)
limits = st.sampled_from([None, 0, -1, 60])


def steps(inner: st.SearchStrategy[Script]) -> st.SearchStrategy[Step]:
    """Generate one step, which may contain scripts."""
    scripts = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("spawn"), inner),
        st.tuples(st.just("lock"), few, inner),
        st.tuples(st.just("semaphore"), few, inner),
        st.tuples(st.just("condition"), inner),
        st.tuples(st.just("timeout"), limits, inner),
        st.tuples(st.just("reschedule"), limits, inner),
        st.tuples(st.just("wait_for"), limits, inner),
        st.tuples(st.just("shield"), inner),
        st.tuples(st.just("gather"), scripts, st.booleans()),
        st.tuples(st.just("gather_coroutines"), scripts, few, st.booleans()),
        st.tuples(st.just("wait_with_time"), limits, scripts, few),
        st.tuples(st.just("as_completed"), limits, scripts, few),
        # With one child: the order in which a group cancels several is that of a set.
        st.tuples(st.just("group"), inner, inner),
        st.tuples(st.just("cancelled group"), inner, inner),
        st.tuples(st.just("wait"), scripts, st.sampled_from([asyncio.FIRST_COMPLETED, asyncio.ALL_COMPLETED])),
        st.tuples(st.just("catch"), inner),
        st.tuples(st.just("finally"), inner, inner),
    )


plain_steps = st.one_of(
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("raise"), few),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("await"), st.integers(0, 9)),
    st.tuples(st.just("acquire and cancel"), few),
    st.tuples(st.just("event wait"), few),
    st.tuples(st.just("event set"), few),
    st.tuples(st.just("event clear"), few),
    st.tuples(st.just("notify"), few),
    st.tuples(st.just("condition wait for"), few),
    st.tuples(st.just("meet"), st.sampled_from(["wait", "wait", "wait", "enter", "reset", "abort"])),
    st.tuples(st.just("put"), queues),
    st.tuples(st.just("get"), queues),
    st.tuples(st.just("put_nowait"), queues),
    st.tuples(st.just("get_nowait"), queues),
    st.tuples(st.just("task_done"), queues),
    st.tuples(st.just("join"), queues),
    st.tuples(st.just("shutdown"), queues, st.booleans()),
    st.tuples(st.just("future wait"), few),
    st.tuples(st.just("future shield"), few),
    st.tuples(st.just("future set"), few),
    st.tuples(st.just("future cancel"), few),
    st.tuples(st.just("uncancel")),
    st.tuples(st.just("wait_for of a primitive"), limits, few),
    st.tuples(st.just("soon"), st.integers(0, 9)),
)
scripts = st.recursive(
    st.lists(plain_steps, min_size=1, max_size=6),
    lambda inner: st.lists(st.one_of(plain_steps, plain_steps, steps(inner)), min_size=1, max_size=6),
    max_leaves=12,
)
programs = st.lists(scripts, min_size=1, max_size=4)


# --- playing one ------------------------------------------------------------------------------------------------------


class Program:
    """The objects that a program's scripts share, and the interpreter of their steps."""

    def __init__(self, diary: Diary, asyncio: ModuleType) -> None:
        self.diary = diary
        self.asyncio = asyncio
        self.loop = diary.loop
        self.tasks: list[Any] = []
        self.count = 0
        self.items = iter(range(1_000_000))
        self.locks = [asyncio.Lock() for _ in range(3)]
        self.events = [asyncio.Event() for _ in range(3)]
        self.semaphores = [asyncio.Semaphore(1), asyncio.Semaphore(2), asyncio.BoundedSemaphore(1)]
        self.queues = [asyncio.Queue(), asyncio.Queue(1), asyncio.PriorityQueue(2), asyncio.LifoQueue(2)]
        self.condition = asyncio.Condition(self.locks[0])
        self.barrier = asyncio.Barrier(2)
        self.futures = [self.loop.create_future() for _ in range(3)]

    def task(self, coroutine: Any) -> Any:
        """Make a task that is cancelled and inspected at the end."""
        task = self.loop.create_task(coroutine, **self.named())
        self.tasks.append(task)
        return task

    def named(self) -> dict[str, Any]:
        """Name the next task, in one of two ways."""
        self.count += 1
        context = contextvars.copy_context()
        context.run(task_number.set, self.count)
        return {"name": f"task {self.count}", "context": context}

    def spawn(self, script: Script) -> Any:
        # A program cannot grow without end.
        return self.task(self.run(script if self.count < MOST_TASKS else []))

    async def run(self, script: Script) -> int:
        name = f"task {task_number.get()}"
        for number, (what, *details) in enumerate(script):
            self.diary(name, number, what)
            try:
                result = await getattr(self, f"step_{what.replace(' ', '_')}")(*details)
            except BaseException as error:
                self.diary(name, number, what, "raised", error, self.cancelling())
                raise
            self.diary(name, number, what, "gave", result, self.cancelling())
        return len(script)

    def cancelling(self) -> int:
        return asyncio.current_task().cancelling()  # type: ignore[union-attr]

    def state(self) -> list[Any]:
        """The visible state of the shared objects."""
        waiting = [len(each._waiters or ()) for each in (*self.locks, *self.events, *self.semaphores, self.condition)]
        return [
            waiting,
            [lock.locked() for lock in self.locks],
            [event.is_set() for event in self.events],
            [(semaphore._value, semaphore.locked()) for semaphore in self.semaphores],
            [str(queue) for queue in self.queues],
            (self.barrier.n_waiting, self.barrier.broken, self.barrier._cond.locked()),
            [task.done() for task in self.tasks],
        ]

    # Steps.

    async def step_turn(self) -> None:
        await self.asyncio.sleep(0)

    async def step_spawn(self, script: Script) -> None:
        self.spawn(script)

    async def step_raise(self, number: int) -> None:
        raise (KeyError, ValueError, asyncio.CancelledError)[number](f"raised {number}")

    async def step_cancel(self, number: int) -> Any:
        return bool(self.tasks) and self.tasks[number % len(self.tasks)].cancel(f"cancelled {number}")

    async def step_soon(self, number: int) -> None:
        if self.tasks:
            self.loop.call_soon(self.tasks[number % len(self.tasks)].cancel)

    async def step_await(self, number: int) -> Any:
        # Each task waits for younger ones only: tasks that wait in a circle cannot even be cancelled.
        younger = [task for task in self.tasks if int(task.get_name().partition(" ")[2]) > task_number.get()]
        return await younger[number % len(younger)] if younger else None

    async def step_lock(self, number: int, script: Script) -> Any:
        async with self.locks[number]:
            return await self.run(script)

    async def step_acquire_and_cancel(self, number: int) -> Any:
        task = self.task(self.locks[number].acquire())
        await self.asyncio.sleep(0)
        task.cancel()
        await self.asyncio.wait([task])
        if not task.cancelled():
            self.locks[number].release()
        return task.cancelled()

    async def step_semaphore(self, number: int, script: Script) -> Any:
        async with self.semaphores[number]:
            return await self.run(script)

    async def step_condition(self, script: Script) -> Any:
        async with self.condition:
            await self.condition.wait()
            return await self.run(script)

    async def step_condition_wait_for(self, number: int) -> Any:
        async with self.condition:
            return await self.condition.wait_for(lambda: self.count > 10 * number and self.count)

    async def step_meet(self, how: str) -> Any:
        if how == "enter":
            async with self.barrier as place:
                return place
        return await getattr(self.barrier, how)()

    async def step_notify(self, number: int) -> None:
        async with self.condition:
            self.condition.notify(number)

    async def step_event_wait(self, number: int) -> Any:
        return await self.events[number].wait()

    async def step_event_set(self, number: int) -> None:
        self.events[number].set()

    async def step_event_clear(self, number: int) -> None:
        self.events[number].clear()

    async def step_put(self, number: int) -> None:
        await self.queues[number].put(next(self.items))

    async def step_get(self, number: int) -> Any:
        return await self.queues[number].get()

    async def step_put_nowait(self, number: int) -> None:
        self.queues[number].put_nowait(next(self.items))

    async def step_get_nowait(self, number: int) -> Any:
        return self.queues[number].get_nowait()

    async def step_task_done(self, number: int) -> None:
        self.queues[number].task_done()

    async def step_join(self, number: int) -> None:
        await self.queues[number].join()

    async def step_shutdown(self, number: int, immediate: bool) -> None:
        if sys.version_info >= (3, 13):
            self.queues[number].shutdown(immediate)

    async def step_future_wait(self, number: int) -> Any:
        return await self.futures[number]

    async def step_future_set(self, number: int) -> None:
        if not self.futures[number].done():
            self.futures[number].set_result(number)
        self.futures[number] = self.loop.create_future()

    async def step_future_shield(self, number: int) -> Any:
        return await self.asyncio.shield(self.futures[number])

    async def step_future_cancel(self, number: int) -> None:
        self.futures[number].cancel(f"future {number}")
        self.futures[number] = self.loop.create_future()

    async def step_uncancel(self) -> int:
        return asyncio.current_task().uncancel()  # type: ignore[union-attr]

    async def step_timeout(self, limit: float | None, script: Script) -> Any:
        async with self.asyncio.timeout(limit):
            return await self.run(script)

    async def step_reschedule(self, limit: float | None, script: Script) -> Any:
        async with self.asyncio.timeout(60) as scope:
            await self.asyncio.sleep(0)
            scope.reschedule(None if limit is None else self.loop.time() + limit)
            return await self.run(script)

    async def step_wait_for(self, limit: float | None, script: Script) -> Any:
        return await self.asyncio.wait_for(self.run(script), limit)

    async def step_wait_for_of_a_primitive(self, limit: float | None, number: int) -> Any:
        waits = (self.locks[1].acquire, self.events[1].wait, self.queues[1].get)
        return await self.asyncio.wait_for(waits[number](), limit)

    async def step_shield(self, script: Script) -> Any:
        return await self.asyncio.shield(self.spawn(script))

    async def step_gather(self, scripts: list[Script], keeps_exceptions: bool) -> Any:
        return await self.asyncio.gather(
            *[self.spawn(script) for script in scripts], return_exceptions=keeps_exceptions
        )

    async def step_gather_coroutines(self, scripts: list[Script], number: int, keeps_exceptions: bool) -> Any:
        coroutines = [self.run(script) for script in scripts if self.count < MOST_TASKS]
        self.count += len(coroutines)
        outer = self.asyncio.gather(*coroutines, self.futures[number], return_exceptions=keeps_exceptions)
        self.tasks += [child for child in outer._children if isinstance(child, asyncio.Task)]
        return await outer

    async def step_wait_with_time(self, limit: float | None, scripts: list[Script], number: int) -> Any:
        waited = [*(self.spawn(script) for script in scripts), self.futures[number]]
        done, pending = await self.asyncio.wait(waited, timeout=limit)
        return [each in done for each in waited], len(pending)

    async def step_as_completed(self, limit: float | None, scripts: list[Script], number: int) -> Any:
        waited = [*(self.spawn(script) for script in scripts), self.futures[number]]
        # What is done already comes in the order of a set.
        waited = [each for each in waited if not each.done()]
        return [await each for each in self.asyncio.as_completed(waited, timeout=limit)]

    async def step_group(self, script: Script, body: Script) -> Any:
        async with self.asyncio.TaskGroup() as group:
            if self.count < MOST_TASKS:
                self.tasks.append(group.create_task(self.run(script), **self.named()))
            return await self.run(body)

    async def step_cancelled_group(self, script: Script, body: Script) -> Any:
        async with self.asyncio.TaskGroup() as group:
            if self.count < MOST_TASKS:
                self.tasks.append(group.create_task(self.run(script), **self.named()))
            if sys.version_info >= (3, 15):
                self.loop.call_soon(group.cancel)
            return await self.run(body)

    async def step_wait(self, scripts: list[Script], condition: str) -> Any:
        done, pending = await self.asyncio.wait([self.spawn(script) for script in scripts], return_when=condition)
        return sorted(task.get_name() for task in done), sorted(task.get_name() for task in pending)

    async def step_catch(self, script: Script) -> Any:
        try:
            return await self.run(script)
        except (Exception, asyncio.CancelledError) as error:
            return error

    async def step_finally(self, script: Script, last: Script) -> Any:
        try:
            return await self.run(script)
        finally:
            await self.run(last)


def played(program: list[Script], namespace: Callable[[asyncio.AbstractEventLoop], ModuleType], *, eager: bool) -> Any:
    async def play(diary: Diary) -> list[Any]:
        if eager:
            diary.loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        diary.count_turns()
        run = Program(diary, namespace(diary.loop))
        for script in program:
            run.spawn(script)
        # In asyncio's own way, whatever the namespace: this is not part of the program.
        await turns(TURNS)
        diary("state", run.state())
        rounds = 0
        while not all(task.done() for task in run.tasks):
            for task in run.tasks:
                task.cancel()
            await turns(5)
            rounds += 1
            assert rounds < 100, "the program does not end"
        await turns(5)
        diary("end", run.state())
        return [task.cancelled() or task.exception() or task.result() for task in run.tasks]

    return play


def compare(program: list[Script], namespace: Callable[[asyncio.AbstractEventLoop], ModuleType], eager: bool) -> None:
    play = played(program, namespace, eager=eager)
    try:
        expected = observe(play, asyncio.SelectorEventLoop)
    except DidNotEnd:
        # A condition takes no for an answer while it waits for a lock that nobody gives back.
        reject()
    actual = observe(play, NEW_LOOP)
    for name, value in vars(expected).items():
        assert getattr(actual, name) == value, f"{name}: {NAME} (left) is not asyncio (right)"


eagerness = st.booleans() if sys.version_info >= (3, 12) else st.just(False)
many = settings(
    max_examples=int(os.environ.get("FERRIO_TEST_EXAMPLES", "100")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _little_to_collect() -> Iterator[None]:
    # Each play ends with a collection; what is there already is left out of those.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.timeout(600)
@many
@given(programs, eagerness)
def test_with_asyncios_own_namespace(program: list[Script], eager: bool) -> None:
    compare(program, lambda _: asyncio, eager)


@pytest.mark.timeout(600)
@many
@given(programs, eagerness)
def test_with_ferrios_namespace(program: list[Script], eager: bool) -> None:
    compare(program, lambda loop: ferrio.asyncio if isinstance(loop, ferrio.Loop) else asyncio, eager)
