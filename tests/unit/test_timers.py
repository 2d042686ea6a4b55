"""``call_later`` and ``call_at``: never early, in order, and with unusual delays."""

import asyncio
import contextvars
import decimal
import fractions
import gc
import itertools
import math
import random
import sys
import time
import weakref
from typing import Any

import pytest

from .loops import ferrio_only, run, run_until, turn

Loop = asyncio.AbstractEventLoop
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_timer_never_runs_early(loop: Loop) -> None:
    early: list[float] = []
    delays = [0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 0.0005, 0.001, 0.0017, 0.003, 0.01]
    left = len(delays) * 10

    def check(when: float) -> None:
        nonlocal left
        left -= 1
        if loop.time() < when:
            early.append(when - loop.time())

    def start(delay: float) -> None:
        loop.call_later(delay, check, loop.time() + delay)

    for delay, _ in itertools.product(delays, range(10)):
        loop.call_soon(start, delay)
    run_until(loop, lambda: left == 0)
    assert early == []


def test_a_timer_never_runs_before_its_own_when(loop: Loop) -> None:
    early = []
    handles: list[asyncio.TimerHandle] = []
    for number in range(200):
        handles.append(
            loop.call_later(
                number * 1e-5, lambda n=number: early.append(n) if loop.time() < handles[n].when() else None
            )
        )
    loop.call_later(0.004, loop.stop)
    loop.run_forever()
    assert early == []


@ferrio_only
def test_a_timer_runs_soon_after_it_is_due(loop: Loop) -> None:
    async def measure() -> float:
        late = []
        for _ in range(30):
            started = time.perf_counter()
            await asyncio.sleep(0.0002)
            late.append(time.perf_counter() - started - 0.0002)
        return min(late)

    # asyncio rounds each wait up to a whole millisecond.
    assert run(loop, measure()) < 0.0008


def test_timers_run_in_the_order_of_their_deadlines(loop: Loop) -> None:
    ran: list[int] = []
    order = list(range(200))
    random.Random(1).shuffle(order)
    base = loop.time()
    for number in order:
        loop.call_at(base + number * 1e-5, ran.append, number)
    run_until(loop, lambda: len(ran) == len(order))
    assert ran == sorted(order)


@ferrio_only
def test_equal_deadlines_run_in_the_order_in_which_they_were_added(loop: Loop) -> None:
    ran: list[int] = []
    when = loop.time() + 0.001
    for number in range(500):
        loop.call_at(when, ran.append, number)
    run_until(loop, lambda: len(ran) == 500)
    assert ran == list(range(500))


@ferrio_only
def test_deadlines_two_nanoseconds_apart_run_in_their_order(loop: Loop) -> None:
    # Two: a float of so many seconds is no whole nanosecond, and one may be rounded up to the next.
    base = loop.time() + 0.001
    deadlines = [base]
    while len(deadlines) < 50:
        deadlines.append(max(deadlines[-1] + 2e-9, math.nextafter(deadlines[-1], math.inf)))
    ran: list[int] = []
    for number, when in reversed(list(enumerate(deadlines))):
        loop.call_at(when, ran.append, number)
    run_until(loop, lambda: len(ran) == len(deadlines))
    assert ran == list(range(len(deadlines)))


def test_the_clock_is_the_monotonic_one(loop: Loop) -> None:
    before = time.monotonic()
    middle = loop.time()
    assert type(middle) is float
    assert before <= middle <= time.monotonic()


def test_the_clock_never_goes_back(loop: Loop) -> None:
    shown = [loop.time() for _ in range(2000)]
    assert shown == sorted(shown)


def test_when_is_the_time_asked_for(loop: Loop) -> None:
    handle = loop.call_at(12345678.25, print)
    assert handle.when() == 12345678.25
    before = loop.time()
    later = loop.call_later(100, print)
    assert before + 100 <= later.when() <= loop.time() + 100


def test_arguments_and_contexts_reach_the_callback(loop: Loop) -> None:
    got: list[Any] = []
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    loop.call_later(0, lambda *args: got.append((args, variable.get())), 1, 2, context=context)
    loop.call_at(0, lambda *args: got.append((args, variable.get())), 3)
    token = variable.set("mine")
    loop.call_at(loop.time(), lambda: got.append(variable.get()))
    variable.reset(token)
    run_until(loop, lambda: len(got) == 3)
    assert sorted(map(str, got)) == sorted(map(str, [((1, 2), "given"), ((3,), "unset"), "mine"]))


def test_delay_callback_and_when_can_be_given_by_name(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_later(delay=0, callback=lambda: ran.append(1))
    loop.call_later(0, callback=lambda: ran.append(2))
    loop.call_at(when=0, callback=lambda: ran.append(3))
    run_until(loop, lambda: len(ran) == 3)
    assert sorted(ran) == [1, 2, 3]


#: Numbers, used as a delay and as a time.
NUMBERS: dict[str, float] = {
    "int": 3600,
    "bool": True,
    "zero": 0,
    "minus zero": -0.0,
    "negative": -1.5,
    "very negative": -1e300,
    "huge": 1e300,
    "huge int": 10**30,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "subnormal": sys.float_info.min / 2,
    "nan": math.nan,
}

NO_NUMBERS: dict[str, Any] = {
    "text": "1",
    "bytes": b"1",
    "None": None,
    "list": [],
    "complex": 1j,
    "object": object(),
    "int beyond float": 10**400,
}


def when_of(loop: Loop, method: str, value: float) -> str:
    """Describe the ``when()`` of a scheduled handle; for a delay, by what does not depend on the moment."""
    handle = getattr(loop, method)(value, lambda: None)
    when = handle.when()
    handle.cancel()
    turn(loop)
    if method == "call_later":
        when = round(when - loop.time(), 1)
    return f"{type(when).__name__} {when!r}"


@pytest.mark.parametrize("method", ["call_later", "call_at"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_a_strange_number_gives_what_asyncio_gives(kind: str, method: str, loop: Loop) -> None:
    theirs = asyncio.SelectorEventLoop()
    expected = when_of(theirs, method, NUMBERS[kind])
    theirs.close()
    assert when_of(loop, method, NUMBERS[kind]) == expected


@ferrio_only
@pytest.mark.parametrize("method", ["call_later", "call_at"])
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number_is_refused_at_once(kind: str, method: str, loop: Loop) -> None:
    # asyncio takes some of these and fails in a later turn.
    with pytest.raises(OverflowError if kind == "int beyond float" else TypeError):
        getattr(loop, method)(NO_NUMBERS[kind], print)
    assert list(loop._scheduled) == []  # type: ignore[attr-defined]


@ferrio_only
@pytest.mark.parametrize("value", [fractions.Fraction(1, 1000), decimal.Decimal("0.001")])
def test_what_converts_to_a_float_is_a_delay(loop: Loop, value: Any) -> None:
    ran: list[int] = []
    loop.call_later(value, ran.append, 1)
    run_until(loop, lambda: ran)


@pytest.mark.parametrize("delay", [-1, -math.inf, -0.0, 0, False, sys.float_info.min])
def test_a_delay_that_is_over_means_the_next_turn(loop: Loop, delay: float) -> None:
    ran: list[int] = []
    loop.call_later(delay, ran.append, 1)
    assert ran == []
    turn(loop, 2)
    assert ran == [1]


@pytest.mark.parametrize("delay", [1e9, 1e18, 1e300, math.inf, 10**30])
def test_a_delay_beyond_all_clocks_never_runs_and_blocks_nothing(loop: Loop, delay: float) -> None:
    ran: list[int] = []
    never = loop.call_later(delay, ran.append, 1)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran == []
    never.cancel()


def test_a_timer_added_while_another_is_awaited_can_be_earlier(loop: Loop) -> None:
    ran: list[str] = []
    late = loop.call_later(3600, ran.append, "late")
    loop.call_soon(lambda: loop.call_later(0.001, lambda: (ran.append("early"), loop.stop())))
    loop.run_forever()
    late.cancel()
    assert ran == ["early"]


def test_a_cancelled_timer_never_runs(loop: Loop) -> None:
    ran: list[int] = []
    handles = [loop.call_later(0.001, ran.append, number) for number in range(10)]
    for handle in handles[::2]:
        handle.cancel()
        handle.cancel()
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert ran == [1, 3, 5, 7, 9]


def test_a_timer_can_be_cancelled_by_one_that_is_due_with_it(loop: Loop) -> None:
    ran: list[int] = []
    when = loop.time()
    second = loop.call_at(when + 1e-7, ran.append, 2)
    loop.call_at(when, second.cancel)
    third = loop.call_at(when + 2e-7, ran.append, 3)
    run_until(loop, lambda: ran)
    assert ran == [3]
    assert second.cancelled()
    assert not third.cancelled()


def test_a_timer_cancelled_in_the_turn_in_which_it_became_ready_does_not_run(loop: Loop) -> None:
    ran: list[int] = []
    timer = loop.call_later(0.0, ran.append, 1)
    loop.call_soon(timer.cancel)
    turn(loop, 3)
    assert ran == []


def test_cancelling_from_its_own_callback_does_nothing(loop: Loop) -> None:
    ran: list[int] = []
    handles: list[asyncio.TimerHandle] = []
    handles.append(loop.call_later(0, lambda: (handles[0].cancel(), ran.append(1))))
    run_until(loop, lambda: ran)
    assert ran == [1]
    turn(loop, 2)


def test_cancelling_a_timer_that_has_run_does_nothing(loop: Loop) -> None:
    ran: list[int] = []
    timer = loop.call_later(0, ran.append, 1)
    other = loop.call_later(0.001, ran.append, 2)
    run_until(loop, lambda: ran)
    for _ in range(200):
        timer.cancel()
    run_until(loop, lambda: len(ran) == 2)
    assert not other.cancelled()


def test_cancelling_a_timer_after_its_loop_has_closed_does_nothing(loop: Loop) -> None:
    timer = loop.call_later(10, print)
    loop.close()
    timer.cancel()
    assert timer.cancelled()


def test_cancelled_timers_are_let_go_of_before_they_are_due(loop: Loop) -> None:
    class Argument:
        pass

    arguments = [Argument() for _ in range(1000)]
    alive = weakref.WeakSet(arguments)
    handles = [loop.call_later(3600, print, argument) for argument in arguments]
    del arguments
    kept = weakref.WeakSet(handles)
    assert len(alive) == 1000
    for handle in handles:
        handle.cancel()
    del handle, handles
    # The arguments go at once, the handles in one of the next turns.
    assert len(alive) == 0
    turn(loop, 2)
    gc.collect()
    assert len(kept) < 600


def test_a_loop_that_never_sleeps_lets_go_of_a_cancelled_timer(loop: Loop) -> None:
    class Marked:
        pass

    marked = Marked()
    reference = weakref.ref(marked)
    timer: Any = loop.call_later(1000, print)
    timer.cancel()
    timer._args = (marked,)
    del timer, marked
    for _ in range(3):
        loop.call_soon(int)
        turn(loop)
    assert reference() is None


def test_a_cancelled_timer_leaves_the_others_alone(loop: Loop) -> None:
    ran: list[int] = []
    handles = [loop.call_later(0.002, ran.append, number) for number in range(1000)]
    for number, handle in enumerate(handles):
        if number % 10:
            handle.cancel()
    run_until(loop, lambda: len(ran) == 100)
    assert ran == sorted(ran)
    assert ran == list(range(0, 1000, 10))


def test_the_timers_are_shown_under_asyncios_name(loop: Loop) -> None:
    first, second = loop.call_later(10, print), loop.call_later(20, print)
    assert set(loop._scheduled) == {first, second}  # type: ignore[attr-defined]
    assert first._scheduled  # type: ignore[attr-defined]
    first.cancel()
    second.cancel()


def test_a_timer_that_has_run_is_scheduled_no_more(loop: Loop) -> None:
    ran: list[bool] = []
    handles: list[Any] = []
    handles.append(loop.call_later(0, lambda: ran.append(handles[0]._scheduled)))
    assert handles[0]._scheduled is True
    run_until(loop, lambda: ran)
    assert ran == [False]


def test_a_missing_argument_and_an_unknown_keyword_are_type_errors(loop: Loop) -> None:
    for method in ("call_later", "call_at"):
        for args, kwargs in [((), {}), ((1,), {}), ((1, print), {"nonsense": 1})]:
            theirs = asyncio.SelectorEventLoop()
            with pytest.raises(TypeError) as expected:
                getattr(theirs, method)(*args, **kwargs)
            theirs.close()
            with pytest.raises(TypeError) as actual:
                getattr(loop, method)(*args, **kwargs)
            # asyncio's methods name themselves with their class since 3.10, which says nothing to users.
            assert actual.value.args[0].split(".")[-1] == expected.value.args[0].split(".")[-1]
