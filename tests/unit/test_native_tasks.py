"""`ferrio.Task`: an asyncio task whose step, waiting and waking up are native."""

import asyncio
import contextvars
import gc
import logging
import subprocess
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

import ferrio

from .loops import LIMIT_S, ferrio_only, new_loop, run, turn
from .test_native_futures import grown

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
with_call_graph = pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")


async def nothing() -> None:
    pass


async def wait_for(future: asyncio.Future[Any]) -> Any:
    return await future


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
        loop.call_later(0.001, future.set_result, 3)
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


class Legacy:
    """An awaitable as Cython makes them: an iterator with `send` and `throw`, without `am_send`."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._iterator = future.__await__()

    def __await__(self) -> "Legacy":
        return self

    def __iter__(self) -> "Legacy":
        return self

    def __next__(self) -> Any:
        return next(self._iterator)

    def send(self, value: Any) -> Any:
        return self._iterator.send(value)

    def throw(self, *error: Any) -> Any:
        return self._iterator.throw(*error)

    def close(self) -> None:
        self._iterator.close()


class Foreign:
    """A future of somebody else: the documented protocol and nothing more."""

    _asyncio_future_blocking = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: list[tuple[Callable[[Any], object], Any]] = []
        self._value: Any = None
        self._finished = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Any = None) -> None:
        self._callbacks.append((callback, context))

    def result(self) -> Any:
        return self._value

    def finish(self, value: Any) -> None:
        self._value, self._finished = value, True
        for callback, context in self._callbacks:
            self._loop.call_soon(callback, self, context=context)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._finished:
            self._asyncio_future_blocking = True
            yield self
        return self.result()


def test_every_kind_of_awaitable_can_be_awaited(loop: asyncio.AbstractEventLoop) -> None:
    @types.coroutine
    def generator() -> Generator[Any, Any, str]:
        yield
        return "generator"

    def completed(value: str) -> asyncio.Future[str]:
        future = loop.create_future()
        loop.call_soon(future.set_result, value)
        return future

    def finishing(value: str) -> Foreign:
        foreign = Foreign(loop)
        loop.call_soon(foreign.finish, value)
        return foreign

    async def main() -> list[Any]:
        done = loop.create_future()
        done.set_result("done")
        plain: asyncio.Future[str] = asyncio.Future(loop=loop)
        loop.call_soon(plain.set_result, "asyncio's")
        return [
            await generator(),
            await completed("future"),
            await Legacy(completed("iterator")),
            await finishing("foreign"),
            await done,
            await plain,
            await asyncio.create_task(asyncio.sleep(0, "task")),
            await asyncio.gather(asyncio.sleep(0, "gathered")),
            await asyncio.wait_for(asyncio.sleep(0, "in time"), 1),
            await asyncio.shield(asyncio.sleep(0, "shielded")),
        ]

    assert run(loop, main()) == [
        "generator",
        "future",
        "iterator",
        "foreign",
        "done",
        "asyncio's",
        "task",
        ["gathered"],
        "in time",
        "shielded",
    ]


class Yields:
    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._value)


def test_what_cannot_be_awaited_is_refused_in_asyncios_words(
    loop: asyncio.AbstractEventLoop, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    other = make_loop().create_future()

    async def words(value: object) -> str:
        with pytest.raises(RuntimeError) as caught:
            await Yields(value)
        return str(caught.value)

    async def on_another_loop() -> str:
        with pytest.raises(RuntimeError) as caught:
            await other
        return str(caught.value)

    async def on_itself() -> str:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(RuntimeError) as caught:
            await task
        return str(caught.value)

    async def main() -> None:
        pending = loop.create_future()
        generator = (number for number in range(1))
        assert await words(5) == "Task got bad yield: 5"
        said = await words(pending)
        assert said.startswith("yield was used instead of yield from in task <Task pending")
        assert said.endswith("with <Future pending>")
        said = await words(generator)
        assert said.startswith("yield was used instead of yield from for generator in task <Task pending")
        said = await asyncio.create_task(on_another_loop())
        assert said.startswith("Task <Task pending name=")
        assert said.endswith("got Future <Future pending> attached to a different loop")
        said = await asyncio.create_task(on_itself())
        assert said.startswith("Task cannot await on itself: <Task pending name=")
        pending.cancel()

    run(loop, main())


def test_cancelling_reaches_what_the_task_waits_for(loop: asyncio.AbstractEventLoop) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 1
            assert task.uncancel() == 0
            return f"cancelled: {error}"
        return "not cancelled"

    async def main() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        waiter = task._fut_waiter  # type: ignore[attr-defined]
        assert task.cancel("enough")
        assert waiter.cancelled()
        assert await task == "cancelled: enough"
        early = asyncio.create_task(stubborn())
        early.cancel("early")
        with pytest.raises(asyncio.CancelledError, match=r"^early$"):
            await early
        assert early.cancelled()
        itself = asyncio.create_task(cancel_itself())
        with pytest.raises(asyncio.CancelledError, match=r"^by itself$"):
            await itself

    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by itself")
        await loop.create_future()

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


@with_call_graph
def test_the_call_graph_shows_who_waits_for_whom(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        first = asyncio.create_task(wait_for(future))
        second = asyncio.create_task(wait_for(first))
        third = asyncio.create_task(wait_for(future))
        await asyncio.sleep(0)
        graph = asyncio.capture_call_graph(future)  # type: ignore[attr-defined]
        assert {entry.future for entry in graph.awaited_by} == {first, third}
        assert first._asyncio_awaited_by == {second}  # type: ignore[attr-defined]
        future.set_result(None)
        await asyncio.gather(second, third)
        assert not future._asyncio_awaited_by  # type: ignore[attr-defined]

    run(loop, main())


def test_a_task_that_is_dropped_while_it_waits_is_reported(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    async def lose() -> None:
        loop.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)

    loop.run_until_complete(lose())
    turn(loop)
    gc.collect()
    assert [context["message"] for context in contexts] == ["Task was destroyed but it is pending!"]
    assert sorted(contexts[0]) == ["message", "task"]
    contexts.clear()
    # A freed task's memory may be the next one's: that one is reported as well.
    loop.run_until_complete(lose())
    gc.collect()
    assert len(contexts) == 1
    contexts.clear()


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


def test_a_long_chain_of_tasks_is_run_and_freed_without_recursion(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        first = loop.create_future()
        last: asyncio.Future[Any] = first
        for _ in range(50_000):
            last = asyncio.ensure_future(wait_for(last))
        await asyncio.sleep(0)
        first.set_result("through")
        assert await last == "through"

    run(loop, main())


@ferrio_only
def test_a_long_chain_of_tasks_is_dropped_without_recursion(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        last: asyncio.Future[Any] = loop.create_future()
        for _ in range(20_000):
            last = asyncio.ensure_future(wait_for(last))
            last._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run(loop, main())
    gc.collect()
    assert contexts == []


def test_tasks_leak_nothing(loop: asyncio.AbstractEventLoop) -> None:
    def runs(make: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], None]:
        def action() -> None:
            loop.run_until_complete(make())

        return action

    async def spawn() -> None:
        await asyncio.create_task(nothing())

    async def cancel() -> None:
        task = asyncio.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def fail() -> None:
        task = asyncio.create_task(asyncio.wait_for(wait_for(loop.create_future()), 0))
        await asyncio.wait([task])
        task.exception()

    async def share() -> None:
        future = loop.create_future()
        tasks = [asyncio.create_task(wait_for(future)) for _ in range(3)]
        await asyncio.sleep(0)
        future.set_result(object())
        await asyncio.gather(*tasks)

    for make in (nothing, spawn, cancel, fail, share):
        assert grown(runs(make), 500) < 250, make.__name__


class Marked:
    """An object to be looked at from a distance."""


async def spin(*_held: Any) -> None:
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize("begins", [False, True])
def test_a_forgotten_loop_is_collected_with_the_tasks_that_are_ready(begins: bool) -> None:
    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)
    marked = Marked()

    async def main(*held: Any) -> None:
        tasks: list[asyncio.Task[None]] = []
        # Each has itself, its loop and the mark in its coroutine.
        tasks.extend(asyncio.create_task(spin(tasks, *held)) for _ in range(3))
        if begins:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    loop.run_until_complete(main(loop, marked))
    seen = weakref.ref(marked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop, marked
        gc.collect()
    assert seen() is None


def test_a_task_that_waits_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    marked = Marked()
    seen = weakref.ref(marked)

    async def wait(held: list[Any]) -> None:
        held.append(loop.create_future())
        await held[-1]

    async def main(marked: Marked) -> None:
        held: list[Any] = [marked]
        held.append(asyncio.create_task(wait(held)))
        held[-1]._log_destroy_pending = False
        await asyncio.sleep(0)

    run(loop, main(marked))
    del marked
    turn(loop)
    gc.collect()
    assert seen() is None


def test_a_task_that_has_ended_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    marked = Marked()
    seen = weakref.ref(marked)

    async def end(held: list[Any], how: str) -> list[Any]:
        if how == "late":
            await asyncio.sleep(0)
        if how == "error":
            error = KeyError(held)
            raise error
        return held

    async def main(marked: Marked) -> None:
        for how in ("at once", "late", "error", "cancelled"):
            held: list[Any] = [marked]
            held.append(asyncio.create_task(end(held, how)))
            if how == "cancelled":
                held[-1].cancel(held)
            await asyncio.wait(held[1:])
            if how == "error":
                held[-1].exception()

    run(loop, main(marked))
    del marked
    turn(loop)
    gc.collect()
    assert seen() is None


@ferrio_only
def test_a_collection_in_the_middle_of_a_burst_takes_nothing_away(loop: asyncio.AbstractEventLoop) -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        await asyncio.sleep(0)
        gc.collect(0)
        ended.append(number)

    async def main() -> None:
        for number in range(100):
            # Nobody but the loop has the task.
            asyncio.create_task(child(number))  # noqa: RUF006 - that is the point
            if number % 10 == 0:
                gc.collect()
        while len(ended) < 100:
            await asyncio.sleep(0)

    run(loop, main())
    assert ended == list(range(100))


def test_cycles_of_task_future_and_coroutine_are_collected(
    loop: asyncio.AbstractEventLoop, contexts: list[dict[str, Any]]
) -> None:
    class Marked:
        pass

    async def hold(marked: Marked, box: list[Any]) -> None:
        box.append(asyncio.current_task())
        future = loop.create_future()
        box.append(future)
        await future

    async def main() -> weakref.ref[Marked]:
        marked = Marked()
        loop.create_task(hold(marked, []))
        reference = weakref.ref(marked)
        del marked
        await asyncio.sleep(0)
        return reference

    reference = loop.run_until_complete(main())
    gc.collect()
    assert reference() is None
    assert len(contexts) == 1
    contexts.clear()


def test_a_loop_dropped_with_ready_tasks_is_collected() -> None:
    loop = ferrio.Loop()
    reference = weakref.ref(loop)
    future = loop.create_future()
    task = loop.create_task(wait_for(future))
    turn(loop)
    task.cancel()
    other = loop.create_task(nothing())
    task._log_destroy_pending = other._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del loop, future, task
    other.get_coro().close()  # type: ignore[union-attr]
    del other
    gc.collect()
    assert reference() is None


def test_a_task_may_be_cancelled_from_another_thread_through_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        task = asyncio.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(task.cancel, "from a thread"))
        thread.start()
        with pytest.raises(asyncio.CancelledError, match=r"^from a thread$"):
            await task
        thread.join(LIMIT_S)

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
