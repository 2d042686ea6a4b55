"""``shield`` of ``ferrio.asyncio``, on the loop under test. In the control run it is asyncio's own.

Where releases of asyncio differ, a scenario is played with asyncio's own function as well, on the same loop.
"""

import asyncio
import asyncio as stdlib
import gc
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio._combining
from ferrio import _ferrio

from .awaitables import cancelled, failed_task, failure, ours, value
from .loops import ferrio_only, new_loop, run, turn


def awaiting(future: Any) -> set[Any]:
    """The tasks and futures that wait for *future* in the call graph."""
    return set(future._asyncio_awaited_by or ()) if sys.version_info >= (3, 14) else set()


def names(future: Any) -> list[str]:
    """The callbacks of *future*."""
    return [callback.__qualname__ for callback, _ in future._callbacks or ()]


def test_the_result_comes_through(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        return [
            await ours.shield(value(1)),
            await ours.shield(loop.create_task(value(2, 3))),
            await ours.shield(future),
            await ours.shield(ours.sleep(0, 3)),
            await ours.shield(ours.shield(value(4, 1))),
        ]

    assert run(loop, main()) == [1, 2, "future", 3, 4]


def test_it_makes_a_future_of_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        outer = ours.shield(value(1, 1))
        assert type(outer) is type(loop.create_future())
        assert outer.get_loop() is loop
        await outer

    run(loop, main())


@pytest.mark.parametrize("turns", range(3))
def test_the_result_is_there_when_asyncio_has_it(loop: asyncio.AbstractEventLoop, turns: int) -> None:
    async def main(shield: Callable[[Any], Any]) -> list[str]:
        seen: list[str] = []
        inner = loop.create_task(value(None, turns))
        inner.add_done_callback(lambda _: seen.append("before"))
        outer = shield(inner)
        inner.add_done_callback(lambda _: seen.append("after"))
        outer.add_done_callback(lambda _: seen.append("outer"))

        async def wait() -> None:
            await outer
            seen.append("waited")

        waiting = loop.create_task(wait())
        while not waiting.done():
            seen.append("turn")
            await stdlib.sleep(0)
        return seen

    assert run(loop, main(ours.shield)) == run(loop, main(stdlib.shield))


def test_what_is_done_comes_back_as_it_is(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> None:
        future = loop.create_future()
        future.set_result(1)
        assert ours.shield(future) is future
        task = loop.create_task(value(1))
        await task
        assert ours.shield(task) is task
        cancelled_one = loop.create_future()
        cancelled_one.cancel()
        assert ours.shield(cancelled_one) is cancelled_one
        assert names(future) == []

    run(loop, main())
    assert told == []


def test_an_exception_comes_through(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> None:
        error = LookupError("same")
        future = loop.create_future()
        loop.call_soon(future.set_exception, error)
        with pytest.raises(LookupError) as caught:
            await ours.shield(future)
        assert caught.value is error
        with pytest.raises(LookupError, match="no"):
            await ours.shield(failure("no", 1))
        with pytest.raises(LookupError, match="from outside"):
            await ours.shield(failed_task(loop))

    run(loop, main())
    gc.collect()
    assert told == []


def test_an_exception_that_nobody_retrieves_is_reported_once(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> None:
        outer = ours.shield(failure("no"))
        while not outer.done():
            await stdlib.sleep(0)
        await stdlib.sleep(0)

    run(loop, main())
    gc.collect()
    assert told == ["Future exception was never retrieved"]


def test_cancelling_the_inner_one_cancels_it(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        outer = ours.shield(future)
        future.cancel("told to")
        await stdlib.sleep(0)
        assert outer.cancelled()
        with pytest.raises(stdlib.CancelledError) as caught:
            await outer
        assert caught.value.args == ()
        with pytest.raises(stdlib.CancelledError):
            await ours.shield(cancelled("itself"))

    run(loop, main())


def test_cancelling_it_leaves_the_inner_one_alone(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> Any:
        inner = loop.create_task(value("inner", 5))
        assert names(inner) == []

        async def wait() -> None:
            await ours.shield(inner)

        task = loop.create_task(wait())
        await stdlib.sleep(0)
        assert "shield.<locals>._inner_done_callback" in names(inner)
        task.cancel("enough")
        with pytest.raises(stdlib.CancelledError, match="enough"):
            await task
        assert "shield.<locals>._inner_done_callback" not in names(inner)
        return await inner

    assert run(loop, main()) == "inner"


@pytest.mark.parametrize("when", ["before", "same turn", "never"])
@pytest.mark.parametrize("end", ["value", "failure", "cancelled"])
@pytest.mark.parametrize("retrieves", [True, False])
def test_what_follows_a_cancellation_is_as_in_asyncio(
    loop: asyncio.AbstractEventLoop, when: str, end: str, retrieves: bool
) -> None:
    def finish(future: asyncio.Future[Any]) -> None:
        if end == "value":
            future.set_result(1)
        elif end == "failure":
            future.set_exception(LookupError("no"))
        else:
            future.cancel()

    async def main(shield: Callable[[Any], Any]) -> list[Any]:
        inner = loop.create_future()
        outer = shield(inner)
        seen: list[Any] = [names(inner), names(outer), len(awaiting(inner))]
        if when == "before":
            outer.cancel()
            await value(None, 2)
            seen += [names(inner), len(awaiting(inner))]
        finish(inner)
        if when == "same turn":
            outer.cancel()
        seen += [names(inner), names(outer)]
        await value(None, 3)
        seen += [outer.cancelled(), outer.done(), inner._log_traceback if end == "failure" else None]
        if retrieves and not outer.cancelled():
            seen.append(repr(outer.exception()))
        del outer, inner
        gc.collect()
        return seen

    def play(shield: Callable[[Any], Any]) -> tuple[list[Any], list[str]]:
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(f"{context['message']} {sorted(context)}"))
        seen = run(loop, main(shield))
        gc.collect()
        return seen, told

    assert play(ours.shield) == play(stdlib.shield)


def test_many_shields_of_one_are_as_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    async def main(shield: Callable[[Any], Any]) -> list[Any]:
        inner = loop.create_task(value(1, 9))
        outers = [shield(inner) for _ in range(4)]
        outers[1].cancel()
        outers[2].cancel()
        seen: list[Any] = [names(inner)]
        await value(None, 2)
        seen += [names(inner), len(awaiting(inner))]
        seen.append(await outers[0])
        seen += [outer.cancelled() for outer in outers]
        seen += [names(inner), len(awaiting(inner))]
        return seen

    assert run(loop, main(ours.shield)) == run(loop, main(stdlib.shield))


def test_a_result_that_somebody_else_has_set_is_an_error(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> None:
        inner = loop.create_future()
        outer = ours.shield(inner)
        inner.set_result(1)
        outer.set_result(2)
        await value(None, 3)
        assert outer.result() == 2

    run(loop, main())
    assert len(told) == 1
    assert told[0].startswith("Exception in callback shield.<locals>._inner_done_callback(")


def test_unusual_arguments_are_asyncios(loop: asyncio.AbstractEventLoop) -> None:
    other = new_loop()

    class Awaitable:
        def __await__(self) -> Any:
            return value("awaitable").__await__()

    async def main() -> None:
        assert await ours.shield(Awaitable()) == "awaitable"
        assert await ours.shield(arg=value("by name")) == "by name"
        foreign: asyncio.Future[str] = stdlib.Future(loop=loop)
        loop.call_soon(foreign.set_result, "foreign")
        assert await ours.shield(foreign) == "foreign"
        elsewhere = other.create_future()
        assert ours.shield(elsewhere).get_loop() is other
        elsewhere.cancel()
        with pytest.raises(TypeError, match=r"An asyncio\.Future, a coroutine or an awaitable is required"):
            ours.shield(1)
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'arg'"):
            ours.shield()
        future = loop.create_future()
        with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
            ours.shield(future, future)

    run(loop, main())
    turn(other, 2)
    other.close()


@pytest.mark.parametrize("has_loop", [True, False])
def test_without_a_running_loop_it_is_as_in_asyncio(loop: asyncio.AbstractEventLoop, has_loop: bool) -> None:
    def play(shield: Callable[[Any], Any]) -> list[Any]:
        coroutine = value("coroutine")
        seen: list[Any] = []
        stdlib.set_event_loop(loop if has_loop else None)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                seen.append(loop.run_until_complete(shield(coroutine)))
        except RuntimeError as error:
            seen.append(str(error))
        finally:
            stdlib.set_event_loop(None)
        coroutine.close()
        future = loop.create_future()
        outer = shield(future)
        future.set_result("later")
        return [*seen, [str(each.message) for each in caught], loop.run_until_complete(outer)]

    assert play(ours.shield) == play(stdlib.shield)


def test_a_task_factory_and_a_replaced_create_future_are_asked(loop: asyncio.AbstractEventLoop) -> None:
    made: list[Any] = []
    create_future = loop.create_future

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        made.append("task")
        return stdlib.Task(coroutine, loop=loop, **kwargs)

    def create() -> asyncio.Future[Any]:
        made.append("future")
        return create_future()

    async def main() -> Any:
        loop.set_task_factory(factory)
        loop.create_future = create  # type: ignore[method-assign]
        return await ours.shield(value(1))

    assert run(loop, main()) == 1
    assert made == ["task", "future"]


def test_in_debug_mode_it_knows_where_it_comes_from(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)

    async def main() -> Any:
        outer = ours.shield(value(1))
        assert "created at" in repr(outer)
        return await outer

    assert run(loop, main()) == 1


def test_the_futures_show_asyncios_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    async def main(shield: Callable[[Any], Any]) -> tuple[str, str]:
        inner = loop.create_task(value(1, 3), name="inner")
        outer = shield(inner)
        shown = repr(inner), repr(outer)
        await outer
        return shown

    shown = run(loop, main(ours.shield))
    assert [text.partition("cb=")[2] for text in shown] == [
        text.partition("cb=")[2] for text in run(loop, main(stdlib.shield))
    ]
    assert f"shield.<locals>._inner_done_callback() at {stdlib.tasks.__file__}:" in shown[0]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
def test_the_call_graph_shows_who_shields(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        inner = loop.create_task(value(None, 5))

        async def wait() -> None:
            await ours.shield(inner)

        waiting = loop.create_task(wait())
        await stdlib.sleep(0)
        assert awaiting(inner) == {waiting}
        await waiting
        assert awaiting(inner) == set()

    run(loop, main())


def test_what_is_behind_it_can_be_collected(loop: asyncio.AbstractEventLoop, told: list[str]) -> None:
    async def main() -> Any:
        inner = loop.create_future()
        outer = ours.shield(inner)
        return weakref.ref(inner), weakref.ref(outer)

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert told == []


def test_nothing_is_left_of_many_calls(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> tuple[int, int]:
        marker = object()
        inner = loop.create_future()
        for _ in range(50):
            await ours.shield(value(marker, 1))
            with pytest.raises(LookupError):
                await ours.shield(failure("no"))
            outer = ours.shield(inner)
            outer.cancel()
            await stdlib.sleep(0)
        del outer
        gc.collect()
        assert "shield.<locals>._inner_done_callback" not in names(inner)
        inner.cancel()
        await value(None, 3)
        gc.collect()
        return sys.getrefcount(marker), sys.getrefcount(inner)

    of_marker, of_inner = run(loop, main())
    assert of_marker <= 3
    assert of_inner <= 3


@ferrio_only
@pytest.mark.skipif(ferrio._combining.SHIELD_RULES is None, reason="this release's shield is asyncio's own")
def test_the_callbacks_refuse_what_is_no_future_of_ferrios(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        inner = loop.create_future()
        outer = ours.shield(inner)
        found = [callback for callback, _ in inner._callbacks]
        assert {type(callback) for callback in found} <= {_ferrio.InnerCallback, _ferrio.AwaiterCallback}
        for callback in found:
            for nonsense in (None, 1, stdlib.Future(loop=loop)):
                with pytest.raises(TypeError):
                    callback(nonsense)
        with pytest.raises(stdlib.InvalidStateError):
            found[-1](inner)
        assert [type(callback) for callback, _ in outer._callbacks] == [_ferrio.OuterCallback]
        inner.set_result(1)
        await outer

    run(loop, main())


@ferrio_only
def test_a_shield_that_is_written_otherwise_stays_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    def shield(arg: Any) -> Any:
        outer = arg.get_loop().create_future()

        def _inner_done_callback(inner: Any, loop: Any = None) -> None:
            outer.set_result(inner)

        def _outer_done_callback(outer: Any) -> None:
            arg.cancel()

        arg.add_done_callback(_inner_done_callback)
        outer.add_done_callback(_outer_done_callback)
        return outer

    monkeypatch.setattr(asyncio, "shield", shield)
    assert ferrio._combining._shield_rules() is None
    monkeypatch.setattr(asyncio, "shield", lambda arg: arg)
    assert ferrio._combining._shield_rules() is None
