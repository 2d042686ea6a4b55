"""Handles that wait in a loop that runs: what the collector sees of them, and the contexts that they share."""

import asyncio
import contextvars
import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only, run, turn

Loop = asyncio.AbstractEventLoop

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")

MAKERS: dict[str, Callable[..., Any]] = {
    "call_soon": lambda loop, callback, *args: loop.call_soon(callback, *args),
    "call_soon_threadsafe": lambda loop, callback, *args: loop.call_soon_threadsafe(callback, *args),
    "call_later": lambda loop, callback, *args: loop.call_later(0, callback, *args),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

COUNTS = range(5)


class Owner:
    """Something that has its handle, and is among the arguments."""

    handle: Any = None


def note(*args: object) -> None:
    pass


def within(loop: Loop, function: Callable[[], object]) -> None:
    """Run *function* in a callback of a loop that runs, then one more turn."""
    loop.call_soon(function)
    turn(loop, 2)


# --- what the collector sees --------------------------------------------------------------------------------


@ferrio_only
@each_maker
def test_a_handle_that_waits_in_a_loop_that_runs_is_not_shown_to_the_collector(loop: Loop, make: Any) -> None:
    tracked = []

    def look() -> None:
        handle = make(loop, note, [])
        tracked.append(gc.is_tracked(handle))

    within(loop, look)
    assert tracked == [False]


@ferrio_only
@each_maker
def test_a_loop_that_stops_shows_what_waits_to_the_collector(loop: Loop, make: Any) -> None:
    handles = []
    loop.call_soon(lambda: handles.extend([make(loop, note), loop.call_later(60, note), loop.call_later(61, note)]))
    turn(loop)
    assert all(gc.is_tracked(handle) for handle in handles)
    turn(loop)
    for handle in handles:
        handle.cancel()


@ferrio_only
def test_a_loop_that_stops_shows_what_another_thread_has_scheduled(loop: Loop) -> None:
    handles = []

    def schedule() -> None:
        thread = threading.Thread(target=lambda: handles.append(loop.call_soon_threadsafe(note)))
        thread.start()
        thread.join()

    loop.call_soon(schedule)
    turn(loop)
    assert all(gc.is_tracked(handle) for handle in handles)
    turn(loop)


@each_maker
@pytest.mark.parametrize("count", COUNTS)
def test_a_cycle_through_a_handle_that_has_run_is_collected(loop: Loop, make: Any, count: int) -> None:
    gone: list[weakref.ref[Owner]] = []

    def schedule() -> None:
        owner = Owner()
        gone.append(weakref.ref(owner))
        owner.handle = make(loop, note, owner, *range(count))

    async def main() -> None:
        loop.call_soon(schedule)
        while not gone:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0.001)
        gc.collect()
        assert [reference() for reference in gone] == [None]

    run(loop, main())


@each_maker
def test_a_cycle_through_a_handle_that_failed_is_collected(
    loop: Loop, make: Any, contexts: list[dict[str, Any]]
) -> None:
    gone: list[weakref.ref[Owner]] = []

    def fail(_owner: object) -> None:
        raise LookupError

    def schedule() -> None:
        owner = Owner()
        gone.append(weakref.ref(owner))
        owner.handle = make(loop, fail, owner)

    within(loop, schedule)
    turn(loop)
    assert len(contexts) == 1
    contexts.clear()
    gc.collect()
    assert [reference() for reference in gone] == [None]


@ferrio_only
def test_a_cancelled_timer_that_somebody_has_is_shown_when_the_timers_let_go_of_it(loop: Loop) -> None:
    async def main() -> None:
        timers = [loop.call_later(60, note, number) for number in range(500)]
        assert not any(gc.is_tracked(timer) for timer in timers)
        for timer in timers:
            timer.cancel()
        assert any(gc.is_tracked(timer) for timer in timers)

    run(loop, main())


def test_a_handle_shown_in_the_loops_queue_outlives_its_run(loop: Loop) -> None:
    gone: list[weakref.ref[Owner]] = []

    def look() -> None:
        owner = Owner()
        gone.append(weakref.ref(owner))
        loop.call_soon(note, owner)
        owner.handle = list(loop._ready)[-1]  # type: ignore[attr-defined]

    within(loop, look)
    gc.collect()
    assert [reference() for reference in gone] == [None]


@ferrio_only
def test_a_forgotten_loop_is_collected_with_the_handles_that_it_was_stopped_with() -> None:
    gone = []
    for _ in range(5):
        loop = ferrio.new_event_loop()
        owner = Owner()

        def fill(loop: Any = loop, owner: Any = owner) -> None:
            for make in MAKERS.values():
                owner.handle = [owner.handle, make(loop, note, loop, owner), loop.call_later(60, note, owner)]

        loop.call_soon(fill)
        turn(loop)
        gone += [weakref.ref(loop), weakref.ref(owner)]
        fill.__defaults__ = ()
    del loop, owner, fill
    with pytest.warns(ResourceWarning):
        gc.collect()
    # The warnings have referred to the loops.
    gc.collect()
    assert not any(reference() for reference in gone)


# --- arguments ----------------------------------------------------------------------------------------------


@each_maker
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("looks", [False, True])
def test_a_callback_gets_its_arguments(loop: Loop, make: Any, count: int, looks: bool) -> None:
    seen: list[tuple[object, ...]] = []
    expected = tuple([number] for number in range(count))
    handle = make(loop, lambda *args: seen.append(args), *expected)
    if looks:
        assert handle._args == expected
        assert handle._args is handle._args
    turn(loop, 2)
    assert seen == [expected]
    assert all(left is right for left, right in zip(seen[0], expected, strict=True))
    assert handle._args == expected


@each_maker
def test_a_method_gets_its_arguments(loop: Loop, make: Any) -> None:
    seen: list[object] = []
    make(loop, seen.append, 1)
    make(loop, seen.extend, (2, 3))
    make(loop, seen.insert, 0, 0)
    turn(loop, 2)
    assert seen == [0, 1, 2, 3]


@each_maker
def test_arguments_changed_from_python_are_the_ones_that_count(loop: Loop, make: Any) -> None:
    seen: list[tuple[object, ...]] = []
    for old, new in itertools.product(COUNTS, COUNTS):
        seen.clear()
        handle = make(loop, lambda *args: seen.append(args), *range(old))
        handle._args = tuple("abcd"[:new])
        turn(loop, 2)
        assert seen == [tuple("abcd"[:new])]


@each_maker
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["_args", "_context"])
def test_a_deleted_slot_is_empty(loop: Loop, make: Any, count: int, name: str) -> None:
    handle = make(loop, note, *range(count))
    delattr(handle, name)
    with pytest.raises(AttributeError):
        getattr(handle, name)
    handle.cancel()


# --- contexts -----------------------------------------------------------------------------------------------


@each_maker
def test_what_a_callback_sets_no_other_sees(loop: Loop, make: Any) -> None:
    seen = []

    def look_and_set(number: int) -> None:
        seen.append(variable.get())
        if number % 3 == 0:
            variable.set(number)

    for number in range(20):
        make(loop, look_and_set, number)
    turn(loop, 2)
    assert seen == ["unset"] * 20
    assert variable.get() == "unset"


@each_maker
def test_what_a_callback_sets_and_resets_no_other_sees(loop: Loop, make: Any) -> None:
    seen = []
    tokens = []

    def look_and_reset(number: int) -> None:
        seen.append(variable.get())
        token = variable.set(number)
        if number % 2:
            variable.reset(token)
        else:
            tokens.append(token)

    for number in range(20):
        make(loop, look_and_reset, number)
    turn(loop, 2)
    assert seen == ["unset"] * 20
    for token in tokens:
        with pytest.raises(ValueError, match="different Context"):
            variable.reset(token)


def test_callbacks_see_what_held_when_they_were_scheduled(loop: Loop) -> None:
    seen: list[object] = []
    look = lambda: seen.append(variable.get())  # noqa: E731

    def schedule() -> None:
        for number in range(3):
            loop.call_soon(look)
            variable.set(number)
            loop.call_soon(look)
            loop.call_soon(lambda: (look(), variable.set("other"), loop.call_soon(look)))

    contextvars.copy_context().run(schedule)
    turn(loop, 3)
    before = ["unset", 0, 0, 0, 1, 1, 1, 2, 2]
    assert seen == [*before, "other", "other", "other"]


@each_maker
def test_a_handle_that_was_kept_shows_what_its_callback_has_set(loop: Loop, make: Any) -> None:
    handles = [make(loop, variable.set, number) for number in range(5)]
    turn(loop, 2)
    assert [handle._context[variable] for handle in handles] == list(range(5))


@each_maker
def test_every_handle_has_a_context_of_its_own(loop: Loop, make: Any) -> None:
    handles = [make(loop, note) for _ in range(4)]
    contexts = [handle._context for handle in handles]
    assert len({id(context) for context in contexts}) == 4
    contexts[0].run(variable.set, "changed")
    assert [context.get(variable) for context in contexts] == ["changed", None, None, None]
    assert [
        handle.get_context() if hasattr(handle, "get_context") else handle._context for handle in handles
    ] == contexts
    turn(loop, 2)


@each_maker
def test_a_context_asked_for_before_is_the_one_that_the_callback_runs_in(loop: Loop, make: Any) -> None:
    seen: list[object] = []
    handles = [make(loop, lambda: seen.append(variable.get())) for _ in range(4)]
    for number, handle in enumerate(handles):
        if number % 2:
            handle._context.run(variable.set, number)
    del handle, handles
    turn(loop, 2)
    assert seen == ["unset", 1, "unset", 3]


def test_the_exception_handler_sees_the_context_in_which_the_callback_failed(loop: Loop) -> None:
    told = []

    def fail(number: int) -> None:
        variable.set(number)
        raise LookupError(number)

    loop.set_exception_handler(lambda _, context: told.append(context["handle"]._context[variable]))
    for number in range(4):
        loop.call_soon(fail, number)
        loop.call_soon(note)
    turn(loop)
    assert told == list(range(4))


def test_a_callback_that_runs_callbacks_does_not_lend_them_its_context(loop: Loop) -> None:
    seen = []

    def inner(number: int) -> None:
        seen.append(variable.get())
        variable.set(number)

    def outer() -> None:
        handles = [loop.call_soon(inner, number) for number in range(3)]
        for handle in handles:
            handle._run()
            handle.cancel()
        seen.append(variable.get())

    loop.call_soon(outer)
    loop.call_soon(outer)
    turn(loop, 2)
    assert seen == ["unset"] * 8


def test_no_value_of_a_variable_outlives_the_callbacks(loop: Loop) -> None:
    gone = []

    def set_and_schedule() -> None:
        value = Owner()
        gone.append(weakref.ref(value))
        variable.set(value)
        for _ in range(3):
            loop.call_soon(note)

    for _ in range(3):
        loop.call_soon(set_and_schedule)
    turn(loop, 2)
    assert [reference() for reference in gone] == [None] * 3


def test_threads_schedule_in_their_own_contexts(loop: Loop) -> None:
    seen: list[object] = []

    def schedule(number: int) -> None:
        variable.set(number)
        for _ in range(3):
            loop.call_soon_threadsafe(lambda: seen.append(variable.get()))

    for number in range(3):
        thread = threading.Thread(target=schedule, args=(number,))
        thread.start()
        thread.join()
        loop.call_soon(lambda: seen.append(variable.get()))
    turn(loop, 2)
    assert seen == [0, 0, 0, "unset", 1, 1, 1, "unset", 2, 2, 2, "unset"]
