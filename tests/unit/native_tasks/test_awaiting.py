"""The awaitables that a native task can wait for, other libraries' included, and how they wake or cancel it."""

import asyncio
import sys
import threading
import types
from collections.abc import Callable, Generator
from typing import Any

import pytest

from ..loops import LIMIT_S, run
from .coroutines import wait_for

with_call_graph = pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")


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
    """A third-party future: the documented protocol and nothing more."""

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
