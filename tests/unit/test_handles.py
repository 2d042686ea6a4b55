"""Handles: representation, comparison, lifetime, and slots changed from Python."""

import asyncio
import contextvars
import functools
import gc
import itertools
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only, run_until, turn

Loop = asyncio.AbstractEventLoop

MAKERS: dict[str, Callable[..., Any]] = {
    "call_soon": lambda loop, callback, *args: loop.call_soon(callback, *args),
    "call_soon_threadsafe": lambda loop, callback, *args: loop.call_soon_threadsafe(callback, *args),
    "call_later": lambda loop, callback, *args: loop.call_later(0, callback, *args),
    "call_at": lambda loop, callback, *args: loop.call_at(0, callback, *args),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

SLOTS = ["_args", "_callback", "_cancelled", "_context", "_loop", "_repr", "_source_traceback"]


def module_function(*args: object) -> None:
    pass


class Target:
    """An object for a callback to refer to, whose deletion can be observed."""

    def method(self, *args: object) -> None:
        pass


# --- what they show -----------------------------------------------------------------------------------------


@each_maker
def test_a_handle_is_one_of_asyncios(loop: Loop, make: Any) -> None:
    handle = make(loop, module_function)
    assert isinstance(handle, asyncio.Handle)
    turn(loop, 2)


def test_a_timer_handle_is_one_of_asyncios(loop: Loop) -> None:
    handle = loop.call_later(10, module_function)
    assert isinstance(handle, asyncio.TimerHandle)
    handle.cancel()


CALLBACKS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "function": (module_function, ()),
    "function with arguments": (module_function, (1, "two")),
    "lambda": (lambda: None, ()),
    "method": (Target().method, ()),
    "builtin": ([].append, (1,)),
    "partial": (functools.partial(module_function, 1), (2,)),
    "class": (Target, ()),
}


def without_names(text: str) -> str:
    return text.replace("ThreadSafeHandle", "Handle").replace("_ThreadSafeHandle", "Handle")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_handle_is_shown_as_asyncio_shows_it(loop: Loop, kind: str, debug: bool) -> None:
    callback, args = CALLBACKS[kind]
    theirs = asyncio.SelectorEventLoop()
    shown = []
    for each in (theirs, loop):
        each.set_debug(debug)
        # One line makes both, because debug mode shows where a handle was made.
        handles = [make(each, callback, *args) for make in (soon, at)]
        texts = [without_names(repr(handle)) for handle in handles]
        for handle in handles:
            handle.cancel()
        texts += [without_names(repr(handle)) for handle in handles]
        shown.append(texts)
    theirs.close()
    assert shown[1] == shown[0]


def soon(loop: Loop, callback: Any, *args: Any) -> asyncio.Handle:
    return loop.call_soon(callback, *args)


def at(loop: Loop, callback: Any, *args: Any) -> asyncio.TimerHandle:
    return loop.call_at(1e9, callback, *args)


def test_a_handle_that_has_run_shows_the_same_as_before(loop: Loop) -> None:
    handle = loop.call_soon(module_function, 1)
    before = repr(handle)
    turn(loop)
    assert repr(handle) == before
    assert not handle.cancelled()


def test_the_context_of_a_handle_is_the_one_that_it_runs_in(loop: Loop) -> None:
    context = contextvars.copy_context()
    assert loop.call_soon(print, "", context=context).get_context() is context  # type: ignore[attr-defined]
    assert loop.call_at(1e9, print, context=context).get_context() is context  # type: ignore[attr-defined]
    found = []
    handle = loop.call_soon(lambda: found.append(contextvars.copy_context()))
    handle_context = handle.get_context()  # type: ignore[attr-defined]
    assert type(handle_context) is contextvars.Context


def test_a_cancelled_handle_says_so_and_lets_go(loop: Loop) -> None:
    for make in MAKERS.values():
        target = Target()
        gone = weakref.ref(target)
        handle = make(loop, target.method, target)
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
        assert handle._callback is None
        assert handle._args is None
        del target
        assert gone() is None
    turn(loop, 2)


def test_a_handle_has_asyncios_attributes(loop: Loop) -> None:
    for make in MAKERS.values():
        handle = make(loop, module_function, 1, 2)
        assert handle._callback is module_function
        assert handle._args == (1, 2)
        assert handle._loop is loop
        assert handle._cancelled is False
        assert handle._repr is None
        assert handle._source_traceback is None
        assert handle._context is handle.get_context()
        handle.cancel()


def test_a_handle_takes_no_further_attributes_and_is_not_pickled(loop: Loop) -> None:
    handle = loop.call_soon(module_function)
    with pytest.raises(AttributeError):
        handle.anything = 1  # type: ignore[attr-defined]
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(handle)
    turn(loop)


@ferrio_only
@pytest.mark.parametrize("name", ["Handle", "ThreadSafeHandle", "TimerHandle"])
def test_no_program_makes_a_handle_by_itself(name: str) -> None:
    class_ = getattr(ferrio._ferrio, name)
    with pytest.raises(TypeError, match="cannot create"):
        class_()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (class_,), {})


# --- order and equality -------------------------------------------------------------------------------------


def compared(left: Any, right: Any) -> list[Any]:
    found = []
    for operation in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
        found.append(getattr(left, operation)(right))
    return found


def test_timers_compare_as_asyncios_do(loop: Loop) -> None:
    theirs = asyncio.SelectorEventLoop()
    results = []
    for each in (theirs, loop):
        context = contextvars.copy_context()
        handles: list[Any] = [
            each.call_at(when, callback, *args, context=context)
            for when in (1e9, 2e9)
            for callback in (print, module_function)
            for args in ((), (1,))
        ]
        handles.append(each.call_at(1e9, print, context=context))
        cancelled = each.call_at(1e9, print, context=context)
        cancelled.cancel()
        others: list[Any] = [cancelled, each.call_soon(print, ""), 1, None, "text"]
        pairs = itertools.product([*handles, cancelled], [*handles, *others])
        results.append([compared(left, right) for left, right in pairs])
        results[-1].append([hash(handle) == hash(handle.when()) for handle in handles])
        turn(each)
    theirs.close()
    assert results[1] == results[0]


def test_plain_handles_are_equal_to_themselves_only(loop: Loop) -> None:
    first, second = loop.call_soon(print, ""), loop.call_soon(print, "")
    assert first == first
    assert first != second
    assert len({first, second, first}) == 2
    assert hash(first) == hash(first)
    turn(loop)


def test_timers_can_be_sorted_and_used_as_keys(loop: Loop) -> None:
    timers = [loop.call_at(1e9 - number, module_function) for number in range(10)]
    assert sorted(timers) == timers[::-1]
    assert len(dict.fromkeys(timers)) == 10
    for timer in timers:
        timer.cancel()


# --- who keeps what alive -----------------------------------------------------------------------------------


@each_maker
def test_weak_references_to_a_handle_work(loop: Loop, make: Any) -> None:
    cleared = []
    handle = make(loop, module_function)
    reference = weakref.ref(handle, cleared.append)
    assert reference() is handle
    del handle
    assert reference() is not None
    turn(loop, 2)
    gc.collect()
    assert reference() is None
    assert cleared == [reference]


@each_maker
def test_a_callback_and_its_arguments_are_released_when_it_has_run(loop: Loop, make: Any) -> None:
    target, argument = Target(), Target()
    gone = [weakref.ref(target), weakref.ref(argument)]
    make(loop, target.method, argument)
    del target, argument
    assert all(reference() is not None for reference in gone)
    turn(loop, 2)
    assert [reference() for reference in gone] == [None, None]


@each_maker
def test_a_callback_is_released_when_its_loop_closes(make_loop: Any, make: Any) -> None:
    loop = make_loop()
    target = Target()
    gone = weakref.ref(target)
    make(loop, target.method)
    del target
    assert gone() is not None
    loop.close()
    gc.collect()
    assert gone() is None


@each_maker
def test_a_handle_in_a_cycle_with_its_callback_is_collected(loop: Loop, make: Any) -> None:
    target = Target()
    target.handle = make(loop, target.method)  # type: ignore[attr-defined]
    gone = weakref.ref(target)
    turn(loop, 2)
    del target
    gc.collect()
    assert gone() is None


def test_a_loop_in_a_cycle_with_its_callbacks_is_collected(make_loop: Any) -> None:
    gone = []

    def make() -> None:
        loop = make_loop()
        target = Target()
        target.loop = loop  # type: ignore[attr-defined]
        loop.call_soon(target.method)
        loop.call_later(100, target.method)
        loop.call_soon_threadsafe(target.method)
        gone.append(weakref.ref(target))
        loop.close()

    make()
    gc.collect()
    assert gone[0]() is None


@ferrio_only
@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_forgotten_loop_is_collected_with_all_that_waits_in_it() -> None:
    target = Target()
    loop = ferrio.Loop()
    target.loop = loop  # type: ignore[attr-defined]
    loop.call_soon(target.method)
    loop.call_later(100, target.method)
    loop.call_soon_threadsafe(target.method)
    gone = weakref.ref(target), weakref.ref(loop)
    del target, loop
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@each_maker
def test_scheduling_leaks_no_reference(loop: Loop, make: Any) -> None:
    callback, argument = Target().method, Target()
    context = contextvars.copy_context()
    watched = [callback, argument, loop, context, None, type(make(loop, module_function))]
    turn(loop, 2)
    gc.collect()
    before = [sys.getrefcount(each) for each in watched]
    for _ in range(200):
        make(loop, callback, argument, None)
        cancelled = make(loop, callback, argument)
        cancelled.cancel()
        repr(cancelled)
    del cancelled
    turn(loop, 2)
    gc.collect()
    after = [sys.getrefcount(each) for each in watched]
    for count_before, count_after in zip(before, after, strict=True):
        # A handful: the loop's tables may keep cancelled timers for some turns.
        assert abs(count_after - count_before) < 60


@each_maker
def test_a_failing_callback_leaks_no_reference(loop: Loop, make: Any, contexts: list[dict[str, Any]]) -> None:
    def fail(argument: object) -> None:
        raise LookupError(argument)

    target = Target()
    gone = weakref.ref(target)
    make(loop, fail, target)
    turn(loop, 2)
    assert len(contexts) == 1
    contexts.clear()
    del target
    gc.collect()
    assert gone() is None


def test_handles_are_tracked_by_the_collector(loop: Loop) -> None:
    for make in MAKERS.values():
        handle = make(loop, module_function, 1)
        assert gc.is_tracked(handle)
        expected = (module_function, loop, handle._args, handle.get_context())
        referents = gc.get_referents(handle)
        for each in expected:
            assert any(each is referent for referent in referents)
        handle.cancel()


def test_memory_of_a_freed_handle_is_used_again_without_a_trace_of_the_old_one(loop: Loop) -> None:
    for round_number in range(5):
        references = []
        for number in range(2000):
            handle = loop.call_soon(module_function, round_number, number)
            assert handle._args == (round_number, number)  # type: ignore[attr-defined]
            references.append(weakref.ref(handle))
        del handle
        turn(loop)
        assert all(reference() is None for reference in references)


# --- slots changed from Python ------------------------------------------------------------------------------

NOTHING = object()


def change(handle: Any, slot: str, value: Any) -> None:
    if value is NOTHING:
        delattr(handle, slot)
    else:
        setattr(handle, slot, value)


STRANGERS: dict[str, Any] = {
    "nothing": NOTHING,
    "None": None,
    "a number": 1,
    "text": "text",
    "a list": [1],
    "an object": object(),
    "True": True,
    "a tuple": (1, 2),
    "a subclass of tuple": type("Tuple", (tuple,), {})((1,)),
}


@ferrio_only
@pytest.mark.filterwarnings("ignore")
@each_maker
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("slot", SLOTS)
def test_slots_changed_from_python_never_crash(
    make_loop: Any, contexts: list[dict[str, Any]], make: Any, slot: str, debug: bool
) -> None:
    for value in STRANGERS.values():
        for use in (turn_twice, cancel, show, close, collect, turn_twice_in_debug_mode):
            loop = make_loop()
            loop.set_debug(debug)
            handle = make(loop, module_function, 1)
            change(handle, slot, value)
            for step in (use, close):
                try:
                    step(loop, handle)
                except (AttributeError, TypeError, RuntimeError, LookupError):
                    # What asyncio would raise is a matter of its inner workings.
                    loop.stop()
            del handle
    gc.collect(0)


def turn_twice(loop: Loop, handle: Any) -> None:
    turn(loop, 2)


def turn_twice_in_debug_mode(loop: Loop, handle: Any) -> None:
    loop.set_debug(True)
    turn(loop, 2)


def cancel(loop: Loop, handle: Any) -> None:
    handle.cancel()
    handle.cancelled()
    turn(loop, 2)


def show(loop: Loop, handle: Any) -> None:
    repr(handle)
    handle.get_context()
    _ = handle == handle
    hash(handle)


def close(loop: Loop, handle: Any) -> None:
    loop.close()


def collect(loop: Loop, handle: Any) -> None:
    gc.collect(0)
    gc.get_referents(handle)


@ferrio_only
def test_slots_that_only_timers_have_can_be_changed_too(make_loop: Any, contexts: list[dict[str, Any]]) -> None:
    for slot, value in itertools.product(["_when", "_scheduled"], STRANGERS.values()):
        for use in (turn_twice, cancel, show, close, collect):
            loop = make_loop()
            handle = loop.call_later(0, module_function)
            change(handle, slot, value)
            for step in (use, close):
                try:
                    step(loop, handle)
                except (AttributeError, TypeError, RuntimeError):
                    loop.stop()


@each_maker
def test_an_exchanged_callback_is_what_runs(loop: Loop, make: Any) -> None:
    ran: list[Any] = []
    handle = make(loop, module_function)
    handle._callback, handle._args = ran.append, ("exchanged",)
    turn(loop, 2)
    assert ran == ["exchanged"]


def test_arguments_that_are_changed_while_the_callback_runs_stay_alive(loop: Loop) -> None:
    target = Target()
    gone = weakref.ref(target)
    handles: list[Any] = []
    seen: list[bool] = []

    def callback(argument: object) -> None:
        handles[0]._args = handles[0]._callback = None
        gc.collect()
        seen.append(gone() is argument)

    handles.append(loop.call_soon(callback, target))
    del target
    turn(loop)
    assert seen == [True]


@ferrio_only
def test_asyncios_own_handle_can_be_run_by_the_loop(loop: Any) -> None:
    ran: list[int] = []
    handle = asyncio.Handle(ran.append, (1,), loop)
    loop._add_callback(handle)
    loop._add_callback_signalsafe(asyncio.Handle(ran.append, (2,), loop))
    assert next(iter(loop._ready)) is handle
    turn(loop)
    assert ran == [1, 2]


@ferrio_only
def test_what_is_no_handle_at_all_cannot_be_added(loop: Any) -> None:
    for value in (None, 1, print, object()):
        with pytest.raises(AttributeError):
            loop._add_callback(value)


@ferrio_only
def test_a_handle_of_another_loop_can_be_cancelled_here(make_loop: Any) -> None:
    first, second = make_loop(), make_loop()
    timer = first.call_later(0.001, module_function)
    second.call_soon(timer.cancel)
    turn(second)
    assert timer.cancelled()
    turn(first)


def test_a_finalizer_that_schedules_while_handles_are_dropped_is_harmless(loop: Loop) -> None:
    ran: list[int] = []

    class Schedules:
        def __del__(self) -> None:
            loop.call_soon(ran.append, 1)
            timer = loop.call_later(1000, module_function, Schedules.Last())
            timer.cancel()

        class Last:
            def __del__(self) -> None:
                loop.call_soon(ran.append, 2)

    for make in MAKERS.values():
        make(loop, module_function, Schedules())
    cancelled = [loop.call_later(1000, module_function, Schedules()) for _ in range(300)]
    for timer in cancelled:
        timer.cancel()
    run_until(loop, lambda: len(ran) >= 608)
    assert sorted(ran) == [1] * 304 + [2] * 304


@ferrio_only
def test_a_finalizer_that_schedules_while_the_loop_closes_is_harmless(make_loop: Any) -> None:
    loop = make_loop()
    refused: list[str] = []

    class Schedules:
        def __del__(self) -> None:
            try:
                loop.call_soon(module_function)
            except RuntimeError as error:
                refused.append(str(error))

    loop.call_soon(module_function, Schedules())
    loop.call_later(1000, module_function, Schedules())
    loop.call_soon_threadsafe(module_function, Schedules())
    loop.close()
    gc.collect()
    assert refused == ["Event loop is closed"] * 3
