"""``call_soon`` and ``call_soon_threadsafe``: order, arguments, contexts, threads."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from .loops import LIMIT_S, run, turn

Loop = asyncio.AbstractEventLoop
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_callbacks_run_in_the_order_in_which_they_were_added(loop: Loop) -> None:
    ran: list[int] = []
    for number in range(1000):
        loop.call_soon(ran.append, number)
    turn(loop)
    assert ran == list(range(1000))


def test_no_callback_runs_within_the_call(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    loop.call_soon_threadsafe(ran.append, 2)
    assert ran == []
    turn(loop)
    assert ran == [1, 2]


@pytest.mark.parametrize("args", [(), (1,), (1, 2), (None,), ((),), tuple(range(300))])
def test_arguments_reach_the_callback(loop: Loop, args: tuple[Any, ...]) -> None:
    got: list[tuple[Any, ...]] = []
    for schedule in (loop.call_soon, loop.call_soon_threadsafe):
        schedule(lambda *args: got.append(args), *args)
    turn(loop)
    assert got == [args, args]


def test_arguments_are_the_same_objects(loop: Loop) -> None:
    given, got = object(), []
    loop.call_soon(got.append, given)
    turn(loop)
    assert got[0] is given


@pytest.mark.parametrize(
    "make",
    [
        lambda ran: ran.append,
        lambda ran: lambda value: ran.append(value),
        lambda ran: Callable_(ran),
        lambda ran: Callable_(ran).method,
        lambda ran: __import__("functools").partial(ran.append),
    ],
    ids=["builtin", "function", "object", "method", "partial"],
)
def test_every_kind_of_callable_is_called(loop: Loop, make: Callable[[list[int]], Any]) -> None:
    ran: list[int] = []
    loop.call_soon(make(ran), 1)
    turn(loop)
    assert ran == [1]


class Callable_:
    def __init__(self, ran: list[int]) -> None:
        self.ran = ran

    def __call__(self, value: int) -> None:
        self.ran.append(value)

    def method(self, value: int) -> None:
        self.ran.append(value)


def test_the_result_of_a_callback_is_dropped(loop: Loop) -> None:
    loop.call_soon(lambda: object())
    loop.call_soon(lambda: NotImplemented)
    turn(loop)


def test_a_callback_runs_in_a_copy_of_the_current_context(loop: Loop) -> None:
    seen = []

    def look_and_set() -> None:
        seen.append(variable.get())
        variable.set("theirs")

    token = variable.set("mine")
    loop.call_soon(look_and_set)
    variable.reset(token)
    loop.call_soon(look_and_set)
    turn(loop)
    assert seen == ["mine", "unset"]
    assert variable.get() == "unset"


def test_a_callback_runs_in_the_context_given(loop: Loop) -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    seen: list[str] = []
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    loop.call_soon(variable.set, "changed", context=context)
    loop.call_soon_threadsafe(lambda: seen.append(variable.get()), context=context)
    turn(loop)
    assert seen == ["given", "changed"]
    assert context[variable] == "changed"


def test_no_context_and_none_are_the_same(loop: Loop) -> None:
    token = variable.set("mine")
    seen: list[str] = []
    loop.call_soon(lambda: seen.append(variable.get()), context=None)
    turn(loop)
    variable.reset(token)
    assert seen == ["mine"]


def test_the_callback_can_be_given_by_name(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_soon(callback=lambda: ran.append(1))
    loop.call_soon_threadsafe(callback=lambda: ran.append(2))
    turn(loop)
    assert ran == [1, 2]


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_a_missing_callback_and_an_unknown_keyword_are_type_errors(loop: Loop, method: str) -> None:
    schedule = getattr(loop, method)
    with pytest.raises(TypeError, match=f"{method}\\(\\) missing 1 required positional argument: 'callback'"):
        schedule()
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'nonsense'"):
        schedule(print, nonsense=1)
    turn(loop)


def test_what_is_not_callable_is_reported_when_it_is_called(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    loop.call_soon("text")  # type: ignore[arg-type]
    assert contexts == []
    turn(loop)
    (told,) = contexts
    assert isinstance(told["exception"], TypeError)
    assert told["exception"].args == ("'str' object is not callable",)


def test_callbacks_from_the_loops_own_thread_keep_one_order(loop: Loop) -> None:
    ran: list[int] = []

    def add() -> None:
        for number in range(0, 100, 2):
            loop.call_soon(ran.append, number)
            loop.call_soon_threadsafe(ran.append, number + 1)

    loop.call_soon(add)
    turn(loop, 2)
    assert ran == list(range(100))


def test_callbacks_added_before_the_loop_runs_keep_one_order(loop: Loop) -> None:
    ran: list[int] = []
    for number in range(0, 100, 2):
        loop.call_soon(ran.append, number)
        loop.call_soon_threadsafe(ran.append, number + 1)
    turn(loop)
    assert ran == list(range(100))


def test_callbacks_of_another_thread_keep_their_order(loop: Loop) -> None:
    ran: list[int] = []
    count = 2000

    def add() -> None:
        for number in range(count):
            loop.call_soon_threadsafe(ran.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=add)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert ran == list(range(count))


def test_callbacks_of_several_threads_all_run_each_in_its_order(loop: Loop) -> None:
    ran: list[tuple[int, int]] = []
    threads_count, count = 8, 500
    ready = threading.Barrier(threads_count)

    def add(who: int) -> None:
        ready.wait(LIMIT_S)
        for number in range(count):
            loop.call_soon_threadsafe(ran.append, (who, number))

    threads = [threading.Thread(target=add, args=(who,)) for who in range(threads_count)]

    def start() -> None:
        for thread in threads:
            thread.start()

    loop.call_soon(start)

    async def all_ran() -> None:
        while len(ran) < threads_count * count:
            await asyncio.sleep(0.001)

    run(loop, all_ran())
    for thread in threads:
        thread.join()
    for who in range(threads_count):
        assert [number for whose, number in ran if whose == who] == list(range(count))


def test_a_callback_of_another_thread_wakes_a_sleeping_loop(loop: Loop) -> None:
    rounds = 50
    woken: list[float] = []
    asked, answered = threading.Semaphore(0), []

    def ask() -> None:
        for _ in range(rounds):
            asked.acquire(timeout=LIMIT_S)
            loop.call_soon_threadsafe(answer)
        loop.call_soon_threadsafe(loop.stop)

    def answer() -> None:
        answered.append(loop.time())
        asked.release()

    thread = threading.Thread(target=ask)
    thread.start()
    asked.release()
    # Nothing but the other thread can end this sleep in time.
    far_away = loop.call_later(3600, woken.append, 1.0)
    loop.run_forever()
    far_away.cancel()
    thread.join()
    assert len(answered) == rounds
    assert woken == []


def test_callbacks_of_another_thread_that_come_while_the_loop_is_stopped_run_later(loop: Loop) -> None:
    ran: list[int] = []
    for count in (1, 100):
        thread = threading.Thread(
            target=lambda count=count: [loop.call_soon_threadsafe(ran.append, n) for n in range(count)]
        )
        thread.start()
        thread.join()
        assert ran == []
        turn(loop)
        assert ran == list(range(count))
        ran.clear()


def test_a_callback_added_from_another_thread_runs_in_that_threads_context(loop: Loop) -> None:
    seen: list[str] = []

    def add() -> None:
        variable.set("the thread's")
        loop.call_soon_threadsafe(lambda: seen.append(variable.get()))

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    turn(loop)
    assert seen == ["the thread's"]


def test_a_deep_chain_of_callbacks_uses_no_stack(loop: Loop) -> None:
    left = 5 * sys.getrecursionlimit()

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(again)
        else:
            loop.stop()

    loop.call_soon(again)
    loop.run_forever()
    assert left == 0


def test_an_exception_in_a_callback_stops_no_other(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(lambda: 1 // 0)
    loop.call_soon(ran.append, 2)
    turn(loop)
    assert ran == [1, 2]
    (told,) = contexts
    assert isinstance(told["exception"], ZeroDivisionError)


def test_a_callback_that_closes_over_the_handle_can_cancel_itself(loop: Loop) -> None:
    ran: list[int] = []
    handles: list[asyncio.Handle] = []

    def cancel_myself() -> None:
        handles[0].cancel()
        ran.append(1)

    handles.append(loop.call_soon(cancel_myself))
    turn(loop)
    assert ran == [1]
    assert handles[0].cancelled()
