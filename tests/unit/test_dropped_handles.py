"""Callbacks whose handle the program has dropped: nothing may show that the loop keeps no handle for them."""

import asyncio
import contextvars
import gc
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only, run, turn

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")

MAKERS: dict[str, Callable[..., Any]] = {
    "call_soon": lambda loop, callback, *args: loop.call_soon(callback, *args),
    "call_soon_threadsafe": lambda loop, callback, *args: loop.call_soon_threadsafe(callback, *args),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Owner:
    """Something that has its loop."""

    loop: Any = None


def note(*args: object) -> None:
    pass


def within(loop: Any, function: Callable[[], object]) -> None:
    """Run *function* in a callback of a loop that runs, then one more turn."""
    loop.call_soon(function)
    turn(loop, 2)


@ferrio_only
@each_maker
@pytest.mark.parametrize("count", range(2))
def test_a_dropped_handle_is_used_again_for_the_next_callback(loop: Any, make: Any, count: int) -> None:
    seen: set[int] = set()
    within(loop, lambda: seen.update(id(make(loop, note, *range(count))) for _ in range(500)))
    assert len(seen) <= 2


@each_maker
@pytest.mark.parametrize("seed", range(5))
def test_callbacks_run_in_order_whichever_handles_are_kept(loop: Any, make: Any, seed: int) -> None:
    chance = random.Random(seed)
    ran: list[Any] = []
    expected: list[Any] = []
    kept: list[Any] = []

    def schedule() -> None:
        for number in range(300):
            args = (number, *range(chance.randrange(3)))
            handle = make(loop, lambda *given: ran.append(given), *args)
            what = chance.randrange(4)
            if what == 0:
                kept.append(handle)
            if what == 1:
                handle.cancel()
            else:
                expected.append(args)
            if what == 2:
                loop.call_soon(ran.append, number)
                expected.append(number)

    within(loop, schedule)
    assert ran == expected


@each_maker
def test_a_weak_reference_to_a_dropped_handle_lives_until_its_callback_has_run(loop: Any, make: Any) -> None:
    alive: list[bool] = []

    def schedule() -> None:
        reference = weakref.ref(make(loop, lambda: alive.append(reference() is not None)))
        for _ in range(3):
            make(loop, int)
        alive.append(reference() is not None)
        loop.call_soon(lambda: alive.append(reference() is not None))

    within(loop, schedule)
    assert alive == [True, True, False]


@each_maker
@pytest.mark.parametrize("count", range(3))
def test_the_report_of_a_failure_shows_the_callback_its_arguments_and_its_context(
    loop: Any, make: Any, count: int, contexts: list[dict[str, Any]]
) -> None:

    def fail(*args: object) -> None:
        variable.set(args)
        raise ZeroDivisionError(*args)

    def schedule() -> None:
        for _ in range(3):
            make(loop, fail, *range(count))

    within(loop, schedule)
    assert [report["exception"].args for report in contexts] == [tuple(range(count))] * 3
    handles = [report["handle"] for report in contexts]
    assert len({id(handle) for handle in handles}) == 3
    for handle in handles:
        assert isinstance(handle, asyncio.Handle)
        assert (handle._callback, handle._args, handle._loop) == (fail, tuple(range(count)), loop)
        assert handle._context[variable] == tuple(range(count))
        assert not handle.cancelled()


@each_maker
def test_a_dropped_handle_is_seen_in_the_loops_queue_and_can_be_cancelled_there(loop: Any, make: Any) -> None:
    ran: list[int] = []

    def schedule() -> None:
        for number in range(5):
            make(loop, ran.append, number)
        queue: Any = loop._ready
        shown = [handle for handle in queue if handle._callback == ran.append]
        again = [handle for handle in loop._ready if handle._callback == ran.append]
        assert [handle._args for handle in shown] == [(number,) for number in range(5)]
        assert all(one is other for one, other in zip(shown, again, strict=True))
        shown[1].cancel()
        again[3]._args = (33,)

    within(loop, schedule)
    assert ran == [0, 2, 33, 4]


@each_maker
def test_debug_mode_may_begin_while_callbacks_wait(loop: Any, make: Any, contexts: list[dict[str, Any]]) -> None:
    ran: list[int] = []

    def schedule() -> None:
        loop.call_soon(loop.set_debug, True)
        for number in range(3):
            make(loop, ran.append, number)
        make(loop, divmod, 1)
        make(loop, ran.append, 3)

    within(loop, schedule)
    loop.set_debug(False)
    assert ran == [0, 1, 2, 3]
    assert [(type(report["exception"]), report["handle"]._args) for report in contexts] == [(TypeError, (1,))]


@each_maker
def test_each_callback_sees_the_variables_of_its_scheduling_and_changes_no_others(loop: Any, make: Any) -> None:
    seen: list[Any] = []

    def look(value: object) -> None:
        seen.append(variable.get())
        variable.set(value)

    def schedule() -> None:
        for number in range(6):
            if number % 2 == 0:
                variable.set(number)
            make(loop, look, "changed")

    within(loop, schedule)
    assert seen == [0, 0, 2, 2, 4, 4]


@each_maker
def test_what_a_callback_needed_is_dropped_when_it_has_run(loop: Any, make: Any) -> None:
    class Argument:
        pass

    gone: list[bool] = []

    def schedule() -> None:
        for _ in range(3):
            argument = Argument()
            reference = weakref.ref(argument)
            make(loop, lambda _argument: None, argument)
            make(loop, lambda reference: gone.append(reference() is None), reference)

    within(loop, schedule)
    assert gone == [True, True, True]


@each_maker
def test_slots_that_a_program_has_changed_before_it_dropped_the_handle_count(loop: Any, make: Any) -> None:
    ran: list[object] = []

    def schedule() -> None:
        make(loop, ran.append, 1)._callback = lambda value: ran.append(-value)
        make(loop, ran.append, 2)._args = (22,)
        make(loop, ran.append, 3)._cancelled = True
        make(loop, ran.append, 4)._repr = "named"
        handle = make(loop, ran.append, 5)
        assert "named" not in repr(handle)
        handle._context = contextvars.copy_context()
        del handle
        make(loop, ran.append, 6)

    within(loop, schedule)
    assert ran == [-1, 22, 4, 5, 6]


@each_maker
def test_a_closed_loop_drops_callbacks_that_wait(loop: Any, make: Any) -> None:
    class Argument:
        pass

    argument = Argument()
    reference = weakref.ref(argument)

    def schedule(argument: Argument) -> None:
        for _ in range(3):
            make(loop, id, argument)
        loop.stop()

    loop.call_soon(loop.call_soon, schedule, argument)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.run_forever()
    del argument
    loop.close()
    gc.collect()
    assert reference() is None


@ferrio_only
@each_maker
def test_a_forgotten_loop_is_collected_with_the_callbacks_that_wait_in_it(make: Any) -> None:
    loop = ferrio.new_event_loop()
    owner = Owner()
    owner.loop = loop

    def fill(loop: Any = loop, owner: Any = owner) -> None:
        for _ in range(3):
            make(loop, note, owner)

    loop.call_soon(fill)
    turn(loop)
    gone = [weakref.ref(loop), weakref.ref(owner)]
    fill.__defaults__ = ()
    del loop, owner, fill
    with pytest.warns(ResourceWarning):
        gc.collect()
    # The warning has referred to the loop.
    gc.collect()
    assert not any(reference() for reference in gone)


@each_maker
def test_callbacks_of_another_thread_run_in_order(loop: Any, make: Any) -> None:
    ran: list[int] = []

    async def main() -> None:
        done = asyncio.Event()

        def post() -> None:
            for number in range(3000):
                loop.call_soon_threadsafe(ran.append, number)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=post)
        thread.start()
        await done.wait()
        thread.join()

    run(loop, main())
    assert ran == list(range(3000))
