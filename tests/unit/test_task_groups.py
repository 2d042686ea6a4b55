"""``TaskGroup`` of ``ferrio.asyncio``, on the loop under test.

In the control run it is asyncio's own, on asyncio's loop.
"""

import asyncio
import asyncio as stdlib
import contextlib
import contextvars
import gc
import sys
import weakref
from typing import Any
from unittest import mock

import pytest

import ferrio.asyncio
from ferrio import _ferrio

from .loops import NAME, ferrio_only, run

ours: Any = ferrio.asyncio if NAME == "ferrio" else stdlib
since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")


async def nothing(turns: int = 0, result: object = None) -> object:
    for _ in range(turns):
        await ours.sleep(0)
    return result


async def fails(error: BaseException, turns: int = 0) -> None:
    await nothing(turns)
    raise error


def current() -> Any:
    return asyncio.current_task()


# --- nothing fails ----------------------------------------------------------------------------------------------------


def test_the_attributes_tell_the_story(loop: asyncio.AbstractEventLoop) -> None:
    names = ("_entered", "_exiting", "_aborting", "_parent_cancel_requested", "_tasks", "_errors", "_base_error")

    def shown(group: Any) -> list[Any]:
        return [getattr(group, name) for name in names]

    async def main() -> None:
        group = ours.TaskGroup()
        assert shown(group) == [False, False, False, False, set(), [], None]
        assert (group._loop, group._parent_task, group._on_completed_fut) == (None, None, None)
        assert repr(group) == "<TaskGroup>"
        async with group as entered:
            assert entered is group
            assert (group._loop, group._parent_task) == (loop, current())
            assert repr(group) == "<TaskGroup entered>"
            tasks = [group.create_task(nothing(2, number), name=f"child {number}") for number in range(3)]
            assert shown(group) == [True, False, False, False, set(tasks), [], None]
            assert repr(group) == "<TaskGroup tasks=3 entered>"
            assert [task.get_name() for task in tasks] == ["child 0", "child 1", "child 2"]
        assert [task.result() for task in tasks] == [0, 1, 2]
        assert shown(group)[:5] == [True, True, False, False, set()]
        assert group._on_completed_fut is None
        # Since 3.14 a group lets go of its parent and of its errors.
        forgets = sys.version_info >= (3, 14)
        assert (group._parent_task, group._errors) == ((None, None) if forgets else (current(), []))
        assert repr(group) == "<TaskGroup entered>"
        assert vars(group) == {} or NAME == "asyncio"

    run(loop, main())


def test_leaving_waits_in_the_turns_in_which_asyncio_waits(loop: asyncio.AbstractEventLoop) -> None:
    async def turns_of(namespace: Any, *lengths: int) -> int:
        count = 0

        def tick() -> None:
            nonlocal count, handle
            count += 1
            handle = loop.call_soon(tick)

        handle = loop.call_soon(tick)
        async with namespace.TaskGroup() as group:
            for length in lengths:
                group.create_task(nothing(length))
        handle.cancel()
        return count

    async def main() -> None:
        for lengths in ((), (0,), (1,), (3, 0, 2), (0, 0)):
            assert await turns_of(ours, *lengths) == await turns_of(stdlib, *lengths), lengths

    run(loop, main())


def test_a_child_can_have_children(loop: asyncio.AbstractEventLoop) -> None:
    async def parent(group: Any, depth: int) -> None:
        if depth:
            group.create_task(parent(group, depth - 1))
        seen.append(depth)

    async def main() -> None:
        async with ours.TaskGroup() as group:
            group.create_task(parent(group, 3))

    seen: list[int] = []
    run(loop, main())
    assert seen == [3, 2, 1, 0]


def test_a_child_runs_in_the_context_that_was_given(loop: asyncio.AbstractEventLoop) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def read() -> str:
        return variable.get()

    async def main() -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        async with ours.TaskGroup() as group:
            tasks = [group.create_task(read(), context=context), group.create_task(read(), context=None)]
        assert [task.result() for task in tasks] == ["given", "outside"]

    run(loop, main())


def test_done_callbacks_see_the_child_out_of_the_group_in_asyncios_order(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.TaskGroup() as group:
            task = group.create_task(nothing())
            task.add_done_callback(lambda task: seen.append(task in group._tasks))
            assert len(task._callbacks) == 2
            assert task._callbacks[0][0] == group._on_task_done

    seen: list[bool] = []
    run(loop, main())
    assert seen == [False]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
def test_a_call_graph_knows_who_waits_for_the_children(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.TaskGroup() as group:
            task = group.create_task(nothing(1))
            assert task._asyncio_awaited_by == {current()}
        assert task._asyncio_awaited_by is None

    run(loop, main())


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_misuse_is_told_in_asyncios_words(loop: asyncio.AbstractEventLoop) -> None:
    async def told(namespace: Any) -> list[str]:
        words = []

        async def note(call: Any, *arguments: Any, **keywords: Any) -> None:
            coroutine = nothing()
            try:
                result = call(*arguments, **{"coro": coroutine, **keywords} if keywords else {})
                if asyncio.iscoroutine(result):
                    await result
            except Exception as error:
                words.append(f"{type(error).__name__}: {error}")
            else:
                words.append("nothing")
            coroutine.close()

        group = namespace.TaskGroup()
        await note(group.create_task, nothing())
        await note(namespace.TaskGroup, 1)
        async with group:
            await note(group.__aenter__)
            await note(group.create_task)
            await note(group.create_task, 1)
            await note(group.create_task, colour="red")
            group._aborting = True
            await note(group.create_task, nothing())
            group._aborting = False
        await note(group.create_task, nothing())
        return words

    async def main() -> None:
        with pytest.warns(RuntimeWarning) if sys.version_info < (3, 13) else contextlib.nullcontext():
            expected = await told(stdlib)
            assert "nothing" not in expected
            assert await told(ours) == expected
            gc.collect()

    run(loop, main())


def test_outside_a_task_it_cannot_be_entered(loop: asyncio.AbstractEventLoop) -> None:
    def enter() -> None:
        group = ours.TaskGroup()
        with pytest.raises(RuntimeError) as raised:
            group.__aenter__().send(None)
        told.append(str(raised.value))

    async def main() -> None:
        loop.call_soon(enter)
        await stdlib.sleep(0)

    told: list[str] = []
    run(loop, main())
    assert told == ["TaskGroup <TaskGroup> cannot determine the parent task"]


@ferrio_only
def test_the_native_methods_refuse_other_objects() -> None:
    for name, count in {"create_task": 2, "_on_task_done": 2, "__aenter__": 1, "__aexit__": 4}.items():
        function = _ferrio.Function(f"TaskGroup.{name}", lambda *_: None)
        with pytest.raises(TypeError):
            function(*[object()] * count)


def test_one_without_init_is_no_trap(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        group = ours.TaskGroup.__new__(ours.TaskGroup)
        with pytest.raises((AttributeError, RuntimeError)):
            group.create_task(coroutine := nothing())
        coroutine.close()
        group.__init__()
        async with group:
            # What a program puts there is asyncio's code's to complain of.
            group._tasks = [1]
            with pytest.raises(AttributeError, match="'list' object has no attribute"):
                group.create_task(nothing())
            group._tasks = set()
            await nothing(2)

    run(loop, main())


# --- something fails --------------------------------------------------------------------------------------------------


def test_the_errors_of_children_and_block_come_in_the_order_of_their_happening(
    loop: asyncio.AbstractEventLoop,
) -> None:
    errors = [KeyError(0), ValueError(1), ZeroDivisionError(2)]

    async def late(error: Exception) -> None:
        try:
            await ours.sleep(60)
        finally:
            raise error

    async def block() -> None:
        async with ours.TaskGroup() as group:
            group.create_task(fails(errors[0]))
            group.create_task(late(errors[1]))
            try:
                await ours.sleep(60)
            finally:
                raise errors[2]

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as raised:
            await block()
        assert raised.value.message == "unhandled errors in a TaskGroup"
        assert list(raised.value.exceptions) == errors
        assert current().cancelling() == 0

    run(loop, main())


def test_a_failed_child_cancels_the_others_and_the_block(loop: asyncio.AbstractEventLoop) -> None:
    async def block(namespace: Any, error: Exception, waits: bool) -> None:
        async with namespace.TaskGroup() as group:
            others.append(group.create_task(nothing(1000)))
            group.create_task(fails(error, 1))
            if waits:
                await ours.sleep(60)

    async def outcome(namespace: Any, waits: bool) -> tuple[Any, ...]:
        error = KeyError()
        with pytest.raises(ExceptionGroup) as raised:
            await block(namespace, error, waits)
        assert raised.value.exceptions == (error,)
        return others.pop().cancelled(), current().cancelling()

    async def main() -> None:
        for waits in (True, False):
            expected = await stdlib.create_task(outcome(stdlib, waits))
            assert expected[0]
            # Up to 3.12 a request stays when the block had ended.
            assert await stdlib.create_task(outcome(ours, waits)) == expected

    others: list[Any] = []
    run(loop, main())


def test_a_group_whose_children_were_cancelled_ends_well(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.TaskGroup() as group:
            tasks = [group.create_task(nothing(1000)) for _ in range(3)]
            await ours.sleep(0)
            for task in tasks:
                task.cancel()
        assert all(task.cancelled() for task in tasks)

    run(loop, main())


def test_base_errors_come_out_alone(loop: asyncio.AbstractEventLoop) -> None:
    async def block(error: BaseException) -> None:
        async with ours.TaskGroup() as group:
            children.append(group.create_task(nothing(1000)))
            raise error

    children: list[Any] = []

    async def main() -> None:
        error = SystemExit(3)
        with pytest.raises(SystemExit) as raised:
            await block(error)
        assert raised.value is error
        assert children[0].cancelled()

    run(loop, main())


@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelling_a_task_that_waits_for_its_children_cancels_them(
    loop: asyncio.AbstractEventLoop, times: int
) -> None:
    async def slow_end() -> None:
        try:
            await ours.sleep(60)
        finally:
            await nothing(6)

    async def parent() -> None:
        async with ours.TaskGroup() as group:
            children.append(group.create_task(slow_end()))

    async def main() -> None:
        task = stdlib.create_task(parent())
        await nothing(3)
        for number in range(times):
            task.cancel(f"request {number}")
            await nothing(2)
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.args == ("request 0",)
        assert task.cancelling() == times
        assert children[0].cancelled()

    children: list[Any] = []
    run(loop, main())


def test_a_request_to_cancel_in_the_turn_of_the_last_childs_end_is_not_lost(loop: asyncio.AbstractEventLoop) -> None:
    async def outcome(namespace: Any) -> Any:
        async def last(future: Any) -> None:
            await future

        async def parent() -> None:
            async with namespace.TaskGroup() as group:
                group.create_task(last(future))
                groups.append(group)

        groups: list[Any] = []
        future = loop.create_future()
        task = stdlib.create_task(parent())
        await nothing(3)
        # The child ends in the next turn, its callback runs in the one after that, and completes the future.
        future.set_result(None)
        while groups[0]._tasks:
            await stdlib.sleep(0)
        task.cancel("late")
        await stdlib.wait([task])
        return task.cancelled(), task.cancelling(), groups[0]._aborting, groups[0]._on_completed_fut, len(groups)

    async def main() -> None:
        expected = await outcome(stdlib)
        assert expected[0]
        assert await outcome(ours) == expected

    run(loop, main())


def test_closing_a_coroutine_that_waits_for_children_leaves_them_alone(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        group = ours.TaskGroup()
        await group.__aenter__()
        child = group.create_task(nothing(2, "result"))
        leaving = group.__aexit__(None, None, None)
        future = leaving.send(None)
        assert future is group._on_completed_fut
        leaving.close()
        assert group._on_completed_fut is future
        assert await child == "result"
        await stdlib.sleep(0)
        assert future.done()
        assert group._tasks == set()

    run(loop, main())
    assert loop_errors(loop) == []


def loop_errors(loop: Any) -> list[Any]:
    told: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    loop.run_until_complete(stdlib.sleep(0))
    return told


def test_any_other_error_thrown_in_comes_out(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        group = ours.TaskGroup()
        await group.__aenter__()
        child = group.create_task(nothing(1))
        leaving = group.__aexit__(None, None, None)
        leaving.send(None)
        error = KeyError("thrown")
        with pytest.raises(KeyError) as raised:
            leaving.throw(error)
        assert raised.value is error
        await child

    run(loop, main())


def test_exceptions_are_in_no_cycle(loop: asyncio.AbstractEventLoop) -> None:
    class Error(Exception):
        pass

    async def fails_anew(turns: int) -> None:
        await nothing(turns)
        error = Error()
        found.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    found: list[weakref.ref[Error]] = []

    async def main() -> None:
        gc.disable()
        try:
            for turns in (0, 1):
                try:
                    async with ours.TaskGroup() as group:
                        group.create_task(fails_anew(turns))
                except ExceptionGroup:
                    pass
                del group
            await nothing(2)
            if sys.version_info >= (3, 14):
                assert [reference() for reference in found] == [None, None]
        finally:
            gc.enable()

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 15), reason="TaskGroup.cancel came with 3.15")
def test_cancelling_a_group_ends_it_without_an_error(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        async with ours.TaskGroup() as group:
            child = group.create_task(nothing(1000))
            group.cancel()
            await ours.sleep(60)
        assert child.cancelled()
        assert current().cancelling() == 0
        async with ours.TaskGroup() as waiting:
            waiting.create_task(nothing(1000))
            loop.call_soon(waiting.cancel)
        early = ours.TaskGroup()
        early.cancel()
        async with early:
            await ours.sleep(60)
        assert early._aborting

    run(loop, main())


# --- eager tasks, other tasks, other loops ----------------------------------------------------------------------------


@since_3_12
def test_eager_children(loop: asyncio.AbstractEventLoop) -> None:
    async def outcome(namespace: Any) -> list[Any]:
        seen: list[Any] = []
        error = KeyError(1)
        try:
            async with namespace.TaskGroup() as group:
                seen.append(group.create_task(nothing(0, "at once")).done())
                seen.append(len(group._tasks))
                seen.append(group.create_task(nothing(1, "later")).done())
                group.create_task(fails(error))
                seen.append((len(group._tasks), group._aborting))
                await stdlib.sleep(0)
                seen.append("not cancelled")
        except ExceptionGroup as raised:
            seen += raised.exceptions
        seen.append(current().cancelling())
        return [repr(each) for each in seen]

    async def main() -> None:
        expected = await outcome(stdlib)
        assert await outcome(ours) == expected

    loop.set_task_factory(asyncio.eager_task_factory)
    run(loop, main())


def test_children_of_a_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    class Task(asyncio.Task):  # type: ignore[type-arg]
        pass

    def factory(loop: Any, coroutine: Any, **keywords: Any) -> Any:
        made.append(keywords)
        return Task(coroutine, loop=loop, **keywords)

    async def main() -> None:
        loop.set_task_factory(factory)
        given = []
        for namespace in (stdlib, ours):
            made.clear()
            async with namespace.TaskGroup() as group:
                tasks = [group.create_task(nothing(1, 1)), group.create_task(nothing(0, 2), name="second")]
                assert all(type(task) is Task for task in tasks)
                assert tasks[1].get_name() == "second"
            assert [task.result() for task in tasks] == [1, 2]
            given.append([sorted(each) for each in made])
            with pytest.raises(ExceptionGroup):
                async with namespace.TaskGroup() as group:
                    group.create_task(fails(KeyError()))
        assert given[0] == given[1]
        loop.set_task_factory(None)

    made: list[Any] = []
    run(loop, main())


def test_a_replaced_create_task_is_asked(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        with mock.patch.object(loop, "create_task", wraps=loop.create_task) as create_task:
            async with ours.TaskGroup() as group:
                group.create_task(coroutine := nothing(), name="named")
        assert create_task.call_args.args == (coroutine,)

    run(loop, main())


def test_a_subclass_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop) -> None:
    asked: list[str] = []

    class Group(ours.TaskGroup):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.more = 1

        def create_task(self, *arguments: Any, **keywords: Any) -> Any:
            asked.append("create")
            return super().create_task(*arguments, **keywords)

        def _on_task_done(self, task: Any) -> None:
            asked.append("done")
            super()._on_task_done(task)

        def _abort(self) -> None:
            asked.append("abort")
            super()._abort()

    async def main() -> None:
        async with Group() as group:
            group.create_task(nothing())
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                group.create_task(fails(KeyError()))

    run(loop, main())
    assert asked == ["create", "done", "create", "done", "abort"]


def test_it_works_on_asyncios_loop() -> None:
    async def main() -> list[Any]:
        async with ours.TaskGroup() as group:
            tasks = [group.create_task(nothing(number, number)) for number in range(3)]
        with pytest.raises(ExceptionGroup):
            async with ours.TaskGroup() as group:
                group.create_task(fails(KeyError(), 1))
        return [task.result() for task in tasks]

    loop = asyncio.SelectorEventLoop()
    try:
        assert loop.run_until_complete(main()) == [0, 1, 2]
    finally:
        loop.close()


@ferrio_only
def test_what_is_native(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        group = ours.TaskGroup()
        for coroutine in (group.__aenter__(), group.__aexit__(None, None, None)):
            assert isinstance(coroutine, _ferrio.Coroutine)
            await coroutine
        for name in ("create_task", "_on_task_done"):
            assert isinstance(vars(ours.TaskGroup)[name], _ferrio.Function)

    run(loop, main())


# --- memory -----------------------------------------------------------------------------------------------------------


def test_one_in_a_cycle_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[weakref.ref[Any]]:
        found = []
        for waits in (False, True):
            group = ours.TaskGroup()
            group.myself = group
            if waits:
                await group.__aenter__()
                group._errors.append(group)
                group._on_completed_fut = [group]
            found.append(weakref.ref(group))
        return found

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_nothing_is_left_of_many(loop: asyncio.AbstractEventLoop) -> None:
    async def many(count: int) -> None:
        for _ in range(count):
            async with ours.TaskGroup() as group:
                group.create_task(nothing())
                group.create_task(nothing(1), name="named")
            with contextlib.suppress(ExceptionGroup):
                async with ours.TaskGroup() as group:
                    group.create_task(nothing(1))
                    group.create_task(fails(KeyError()))
            async with ours.TaskGroup():
                pass

    async def main() -> None:
        await many(20)
        gc.collect()
        before = len(gc.get_objects()), sys.getrefcount(loop), sys.getrefcount(current()), sys.getrefcount(None)
        await many(500)
        gc.collect()
        after = len(gc.get_objects()), sys.getrefcount(loop), sys.getrefcount(current()), sys.getrefcount(None)
        assert after == pytest.approx(before, abs=250)

    run(loop, main())
