"""``timeout``, ``timeout_at``, ``Timeout`` and ``wait_for`` of ``ferrio.asyncio``, on the loop under test.

In the control run they are asyncio's own, on asyncio's loop.
"""

import asyncio
import asyncio as stdlib
import contextlib
import gc
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Generator
from typing import Any
from unittest import mock

import pytest

import ferrio.asyncio
from ferrio import _ferrio

from .loops import NAME, ferrio_only, run

ours: Any = ferrio.asyncio if NAME == "ferrio" else stdlib
#: The version whose rules `wait_for` has is another.
since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="wait_for has other rules in 3.11")

NAMES = ("_state", "_timeout_handler", "_task", "_cancelling", "_when")


def shown(scope: Any) -> dict[str, Any]:
    return {name: getattr(scope, name) for name in NAMES if hasattr(scope, name)}


def pending_timers(loop: Any) -> list[Any]:
    return [handle for handle in loop._scheduled if not handle.cancelled()]


@contextlib.contextmanager
def counted() -> Any:
    """Check that a thousand runs of the block leave no objects behind."""
    gc.collect()
    before = len(gc.get_objects())
    yield
    gc.collect()
    assert len(gc.get_objects()) - before < 500


# --- the block --------------------------------------------------------------------------------------------------------


def test_the_attributes_tell_the_story(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        when = loop.time() + 60
        scope = ours.timeout_at(when)
        assert shown(scope) == {"_state": states.CREATED, "_timeout_handler": None, "_task": None, "_when": when}
        assert repr(scope) == "<Timeout [created]>"
        async with scope as entered:
            assert entered is scope
            timer = scope._timeout_handler
            assert timer.when() == when
            assert pending_timers(loop)[-1:] == [timer] or timer in pending_timers(loop)
            expected = {"_state": states.ENTERED, "_timeout_handler": timer, "_cancelling": 0, "_when": when}
            assert shown(scope) == expected | {"_task": asyncio.current_task()}
            assert repr(scope) == f"<Timeout [active] when={round(when, 3)}>"
            assert (scope.when(), scope.expired()) == (when, False)
        assert timer.cancelled()
        assert (scope._state, scope._timeout_handler, scope.expired()) == (states.EXITED, None, False)
        assert scope._task is asyncio.current_task()
        assert repr(scope) == "<Timeout [finished]>"
        assert vars(scope) == {} or NAME == "asyncio"

    states = asyncio.timeouts._State  # type: ignore[attr-defined]
    run(loop, main())


@pytest.mark.parametrize("limit", [0, -1, 0.001])
def test_an_exceeded_limit_becomes_a_timeout_error_of_the_cancellation(
    loop: asyncio.AbstractEventLoop, limit: float
) -> None:
    async def main() -> None:
        scope = caught = None

        async def block() -> None:
            nonlocal scope, caught
            async with ours.timeout(limit) as scope:
                try:
                    await ours.sleep(60)
                except asyncio.CancelledError as error:
                    assert scope.expired()
                    assert repr(scope) == "<Timeout [expiring]>"
                    caught = error
                    raise

        with pytest.raises(TimeoutError) as raised:
            await block()
        assert raised.value.args == ()
        assert raised.value.__cause__ is caught is raised.value.__context__
        assert raised.value.__suppress_context__
        assert scope.expired()
        assert repr(scope) == "<Timeout [expired]>"
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(loop, main())


def test_no_limit_is_no_timer(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for make in (ours.timeout, ours.timeout_at):
            async with make(None) as scope:
                assert (scope.when(), scope._timeout_handler) == (None, None)
                assert repr(scope) == "<Timeout [active] when=None>"
                scope.reschedule(loop.time() + 60)
                assert scope._timeout_handler.when() == scope.when()
                scope.reschedule(None)
                assert scope._timeout_handler is None

    run(loop, main())


def test_what_the_block_raises_comes_out_as_it_is(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        error = KeyError("mine")
        with pytest.raises(KeyError) as raised:
            async with ours.timeout(60) as scope:
                raise error
        assert raised.value is error
        assert error.__context__ is None
        assert repr(scope) == "<Timeout [finished]>"

    run(loop, main())


def test_an_error_in_time_of_the_cancellation_is_not_a_timeout_error(loop: asyncio.AbstractEventLoop) -> None:
    async def block() -> None:
        async with ours.timeout(0):
            try:
                await ours.sleep(60)
            finally:
                raise KeyError

    async def main() -> None:
        with pytest.raises(KeyError) as raised:
            await block()
        # Since 3.13 the error tells what the cancellation in its context was.
        kind = TimeoutError if sys.version_info >= (3, 13) else asyncio.CancelledError
        assert type(raised.value.__context__) is kind

    run(loop, main())


def test_a_request_to_cancel_from_outside_wins(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.timeout(0):
            await ours.sleep(60)

    async def outer() -> None:
        task = stdlib.create_task(main())
        await stdlib.sleep(0)
        loop.call_soon(task.cancel, "outside")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run(loop, outer())


def test_nested_limits_end_where_they_are_exceeded(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.timeout(60) as outer:
            with pytest.raises(TimeoutError):
                async with ours.timeout(0):
                    await ours.sleep(60)
            with pytest.raises(TimeoutError):
                async with ours.timeout(0) as middle, ours.timeout(60) as inner:
                    await ours.sleep(60)
            assert (middle.expired(), inner.expired()) == (True, False)
            with pytest.raises(TimeoutError):
                # Both are exceeded in one turn.
                async with ours.timeout(0) as middle, ours.timeout(0) as inner:
                    await ours.sleep(60)
            assert (middle.expired(), inner.expired()) == (True, True)
        assert not outer.expired()

    run(loop, main())


def test_misuse_is_told_in_asyncios_words(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        scope = ours.timeout(60)
        with pytest.raises(RuntimeError, match=r"^Timeout has not been entered$"):
            scope.reschedule(1)
        async with scope:
            with pytest.raises(RuntimeError, match=r"^Timeout has already been entered$"):
                await scope.__aenter__()
            with pytest.raises(TypeError, match="not supported between instances of 'str' and 'float'"):
                scope.reschedule("soon")
            scope.reschedule(None)
        with pytest.raises(RuntimeError, match=r"^Cannot change state of finished Timeout$"):
            scope.reschedule(1)
        with pytest.raises(RuntimeError, match=r"^Timeout has already been entered$"):
            await scope.__aenter__()
        with pytest.raises(AssertionError):
            await scope.__aexit__(None, None, None)
        for call in (lambda: ours.timeout(), lambda: ours.timeout(1, 2), lambda: ours.timeout(soon=1)):
            with pytest.raises(TypeError, match=r"timeout\(\)"):
                call()
        for arguments in ((), (1, 2)):
            with pytest.raises(TypeError, match=r"__init__\(\)"):
                ours.Timeout(*arguments)
        assert ours.timeout(delay=None).when() is ours.timeout_at(when=None).when() is ours.Timeout(when=None).when()

    run(loop, main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        ours.timeout(1)


def test_outside_a_task_it_cannot_be_entered(loop: asyncio.AbstractEventLoop) -> None:
    def enter() -> None:
        coroutine = ours.Timeout(None).__aenter__()
        with pytest.raises(RuntimeError) as raised:
            coroutine.send(None)
        told.append(str(raised.value))

    async def main() -> None:
        loop.call_soon(enter)
        await stdlib.sleep(0)

    told: list[str] = []
    run(loop, main())
    assert told == ["Timeout should be used inside a task"]


def test_one_without_init_has_no_attributes(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        scope = ours.Timeout.__new__(ours.Timeout)
        assert shown(scope) == {}
        with pytest.raises(AttributeError, match="'Timeout' object has no attribute '_state'"):
            await scope.__aenter__()
        scope.__init__(None)
        async with scope:
            del scope._timeout_handler
            assert not hasattr(scope, "_timeout_handler")
            scope._timeout_handler = None

    run(loop, main())


@ferrio_only
def test_the_native_methods_refuse_other_objects() -> None:
    def original(*arguments: Any) -> str:
        return "original"

    for name in ("reschedule", "_on_timeout", "__aenter__", "__aexit__"):
        function = _ferrio.Function(f"Timeout.{name}", original)
        result = function(*[object()] * {"reschedule": 2, "__aexit__": 4}.get(name, 1))
        if result != "original":
            # A coroutine: asyncio's own method is what meets the object.
            with pytest.raises((AttributeError, TypeError)):
                result.send(None)


def test_a_subclass_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop) -> None:
    asked: list[str] = []

    class Scope(ours.Timeout):  # type: ignore[misc]
        def reschedule(self, when: float | None) -> None:
            asked.append("reschedule")
            super().reschedule(when)

        def _on_timeout(self) -> None:
            asked.append("on_timeout")
            super()._on_timeout()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with Scope(loop.time()):
                await ours.sleep(60)

    run(loop, main())
    assert asked == ["reschedule", "on_timeout"]


def test_replaced_methods_of_the_loop_are_asked(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        with (
            mock.patch.object(loop, "time", return_value=100.0) as time,
            mock.patch.object(loop, "call_at", wraps=loop.call_at) as call_at,
            mock.patch.object(loop, "call_soon", wraps=loop.call_soon) as call_soon,
        ):
            async with ours.timeout(5):
                pass
            assert time.call_count == 2
            assert [call.args[0] for call in call_at.mock_calls] == [105.0]
            call_soon.reset_mock()
            async with ours.timeout_at(99) as scope:
                assert call_soon.mock_calls == [mock.call(scope._on_timeout)]

    run(loop, main())


def test_it_works_on_asyncios_loop_and_with_asyncios_tasks() -> None:
    async def main() -> str:
        async with ours.timeout(60):
            await stdlib.sleep(0)
        with pytest.raises(TimeoutError):
            async with ours.timeout(0.001):
                await stdlib.sleep(60)
        with pytest.raises(TimeoutError):
            await ours.wait_for(stdlib.get_running_loop().create_future(), 0.001)
        return str(await ours.wait_for(stdlib.sleep(0, "result"), 60))

    loop = asyncio.SelectorEventLoop()
    try:
        assert loop.run_until_complete(main()) == "result"
    finally:
        loop.close()


# --- wait_for ---------------------------------------------------------------------------------------------------------


class Awaitable:
    def __await__(self) -> Generator[Any, Any, str]:
        yield
        return "result"


@types.coroutine
def generator() -> Generator[Any, Any, str]:
    yield
    return "result"


async def coroutine() -> str:
    await ours.sleep(0)
    return "result"


def done() -> asyncio.Future[str]:
    future = stdlib.get_running_loop().create_future()
    future.set_result("result")
    return future


def soon() -> asyncio.Future[str]:
    loop = stdlib.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, "result")
    return future


#: Every kind of awaitable that comes to "result".
AWAITABLES: dict[str, Callable[[], Any]] = {
    "coroutine": coroutine,
    "native coroutine": lambda: ours.sleep(0, "result"),
    "nested": lambda: ours.wait_for(coroutine(), 60),
    "future": soon,
    "done future": done,
    "task": lambda: stdlib.create_task(coroutine()),
    "asyncio's future": lambda: asyncio.wrap_future(stdlib.get_running_loop().run_in_executor(None, str, "result")),
    "awaitable": Awaitable,
}
awaitables = pytest.mark.parametrize("make", AWAITABLES.values(), ids=AWAITABLES.keys())


@awaitables
@pytest.mark.parametrize("limit", [None, 60, 60.0, sys.float_info.max / 4])
def test_any_awaitable_can_be_waited_for(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Any], limit: float | None
) -> None:
    async def main() -> None:
        assert await ours.wait_for(make(), limit) == "result"
        assert await ours.wait_for(make(), timeout=limit) == "result"
        assert await ours.wait_for(fut=make(), timeout=limit) == "result"
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(loop, main())


@since_3_12
def test_a_generator_based_coroutine_can_be_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        assert await ours.wait_for(generator(), 60) == "result"

    run(loop, main())


def test_a_limit_of_zero_takes_only_what_is_there(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for limit in (0, -1, -0.5):
            assert await ours.wait_for(done(), limit) == "result"
            with pytest.raises(TimeoutError) as raised:
                await ours.wait_for(loop.create_future(), limit)
            assert type(raised.value.__cause__) is asyncio.CancelledError

    run(loop, main())


def test_an_exceeded_wait_cancels_and_tells(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        with pytest.raises(TimeoutError) as raised:
            await ours.wait_for(future, 0.001)
        assert future.cancelled()
        assert type(raised.value.__cause__) is asyncio.CancelledError
        assert raised.value.__cause__ is raised.value.__context__
        assert raised.value.args == ()
        assert pending_timers(loop) == pending_timers(loop)[:1]

    run(loop, main())


@since_3_12
def test_what_suppresses_the_cancellation_gives_its_result(loop: asyncio.AbstractEventLoop) -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await ours.sleep(60)
        return "result"

    async def failing() -> None:
        try:
            await ours.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("late") from None

    async def main() -> None:
        assert await ours.wait_for(stubborn(), 0.001) == "result"
        with pytest.raises(KeyError, match="late"):
            await ours.wait_for(failing(), 0.001)
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(loop, main())


def test_cancelling_it_cancels_what_it_waits_for(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        future = loop.create_future()
        task = stdlib.create_task(ours.wait_for(future, 60))
        await stdlib.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert future.cancelled()
        assert not [timer for timer in pending_timers(loop) if "wait_for" in repr(timer)]

    run(loop, main())


@since_3_12
def test_what_it_cannot_wait_for_is_told_in_asyncios_words(loop: asyncio.AbstractEventLoop) -> None:
    async def told(function: Any, make: Callable[[], Any], *limit: Any) -> str:
        try:
            await function(make(), *limit)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    async def main() -> None:
        def awaited() -> Any:
            return busy

        async def wait() -> None:
            await stdlib.sleep(60)

        busy = wait()
        task = stdlib.create_task(busy)
        await stdlib.sleep(0)
        makes: list[tuple[Callable[[], Any], Any]] = [
            (lambda: 1, 60),
            (lambda: None, None),
            (object, 60),
            (done, "soon"),
            (awaited, 60),
        ]
        for make, limit in makes:
            expected = await told(original, make, limit)
            assert expected != "nothing"
            assert await told(ours.wait_for, make, limit) == expected
        assert (await told(ours.wait_for, done)).startswith("TypeError: wait_for() missing 1 required")
        task.cancel()

    original = stdlib.wait_for
    run(loop, main())


@since_3_12
def test_one_that_is_never_awaited_warns_of_itself_and_of_the_coroutine() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours.wait_for(coroutine(), 60)
        told = []
        while caught:
            # A warning refers to the coroutine, and that to the other.
            told.append(str(caught.pop().message))
            gc.collect()
    assert sorted(told) == [
        "coroutine 'coroutine' was never awaited",
        "coroutine 'wait_for' was never awaited",
    ]


@since_3_12
def test_closing_one_that_waits_ends_the_coroutine_and_the_timer(loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        try:
            await ours.sleep(60)
        finally:
            ended.append(1)

    async def main() -> None:
        before = len(pending_timers(loop))
        for end in (lambda waiting: waiting.close(), lambda _: None):
            waiting = ours.wait_for(wait(), 60)
            waiting.send(None)
            assert len(pending_timers(loop)) == before + 2
            end(waiting)
            del waiting
            gc.collect()
            assert len(pending_timers(loop)) == before
        with pytest.raises(RuntimeError, match="Timeout should be used inside a task"):
            await told()

    async def told() -> None:
        future: asyncio.Future[None] = loop.create_future()

        def step() -> None:
            waiting = ours.wait_for(stdlib.get_running_loop().create_future(), 60)
            try:
                waiting.send(None)
            except BaseException as error:
                future.set_exception(error)

        loop.call_soon(step)
        await future

    ended: list[int] = []
    run(loop, main())
    assert ended == [1, 1]


@ferrio_only
@since_3_12
def test_what_is_native(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for name, make in AWAITABLES.items():
            waiting = ours.wait_for(make(), 60)
            assert isinstance(waiting, _ferrio.Coroutine) == (name != "awaitable"), name
            await waiting
        scope = ours.timeout(60)
        assert type(scope) is ours.Timeout
        entering = scope.__aenter__()
        assert isinstance(entering, _ferrio.Coroutine)
        await entering
        leaving = scope.__aexit__(None, None, None)
        assert isinstance(leaving, _ferrio.Coroutine)
        await leaving

    run(loop, main())


@ferrio_only
@pytest.mark.skipif(sys.version_info < (3, 14, 10), reason="before, a call graph would fail at what has no frame")
def test_a_call_graph_passes_over_it(loop: asyncio.AbstractEventLoop) -> None:
    async def inner() -> None:
        await ours.sleep(60)

    async def outer() -> None:
        async with ours.timeout(60):
            await ours.wait_for(inner(), 60)

    async def main() -> None:
        task = stdlib.create_task(outer())
        await stdlib.sleep(0)
        graph: Any = stdlib.capture_call_graph(task)  # type: ignore[attr-defined,unused-ignore]
        assert [entry.frame.f_code.co_name for entry in graph.call_stack] == ["inner", "outer"]
        assert "inner" in stdlib.format_call_graph(task)  # type: ignore[attr-defined,unused-ignore]
        task.cancel()

    run(loop, main())


@since_3_12
def test_it_can_be_driven_by_hand(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        assert list(ours.wait_for(ours.sleep(0), 60).__await__()) == [None]

    run(loop, main())


# --- memory -----------------------------------------------------------------------------------------------------------


def test_one_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[weakref.ref[Any]]:
        found = []
        for entered in (False, True):
            scope = ours.timeout(60)
            scope.myself = scope
            if entered:
                await scope.__aenter__()
                scope._timeout_handler.cancel()
                scope._task = [scope]
            found.append(weakref.ref(scope))
        return found

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.parametrize("limit", [60, None, 0, 0.00001])
def test_nothing_is_left_of_many(loop: asyncio.AbstractEventLoop, limit: float | None) -> None:
    async def main() -> None:
        states = list(asyncio.timeouts._State)  # type: ignore[attr-defined]
        await many(50)
        with counted():
            before = [sys.getrefcount(each) for each in (*states, ours.Timeout, loop)]
            await many(1000)
            gc.collect()
            after = [sys.getrefcount(each) for each in (*states, ours.Timeout, loop)]
        assert [now - then for now, then in zip(after, before, strict=True)] == pytest.approx([0] * len(after), abs=50)

    async def many(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(TimeoutError):
                async with ours.timeout(limit):
                    await ours.sleep(0)
            with contextlib.suppress(TimeoutError):
                await ours.wait_for(ours.sleep(0), limit)
            with contextlib.suppress(KeyError):
                await ours.wait_for(fails(), limit if limit != 0 else 1)
            ours.timeout(limit)

    async def fails() -> None:
        raise KeyError

    run(loop, main())
