"""One turn: what is ready when it begins runs, what is added waits; descriptors before timers; ``stop()``."""

import asyncio
import collections
from typing import Any

import pytest

from .loops import run, turn
from .socket_pairs import Pair

Loop = asyncio.AbstractEventLoop


def test_what_a_callback_adds_runs_in_the_next_turn(loop: Loop) -> None:
    ran: list[str] = []

    def first() -> None:
        ran.append("first")
        loop.call_soon(ran.append, "added")
        loop.call_soon_threadsafe(ran.append, "added from any thread")

    loop.call_soon(first)
    loop.call_soon(ran.append, "second")
    turn(loop)
    assert ran == ["first", "second"]
    turn(loop)
    assert ran == ["first", "second", "added", "added from any thread"]


def test_each_turn_runs_what_the_one_before_has_added(loop: Loop) -> None:
    turns: list[int] = []

    def again(number: int) -> None:
        turns.append(number)
        loop.call_soon(again, number + 1)

    loop.call_soon(again, 0)
    for count in range(1, 10):
        turn(loop)
        assert turns == list(range(count))


def test_descriptors_come_before_timers_and_both_after_what_was_ready(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    ran: list[str] = []
    theirs.send(b"data")
    loop.add_reader(ours, lambda: (ran.append("reader"), ours.recv(10)))
    loop.call_later(0, ran.append, "timer")
    loop.call_soon(ran.append, "ready")
    loop.call_at(loop.time(), ran.append, "second timer")
    turn(loop)
    loop.remove_reader(ours)
    assert ran == ["ready", "reader", "timer", "second timer"]


def test_a_descriptors_reader_comes_before_its_writer(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    ran: list[str] = []
    theirs.send(b"data")
    loop.add_writer(ours, ran.append, "writer")
    loop.add_reader(ours, ran.append, "reader")
    turn(loop)
    loop.remove_reader(ours)
    loop.remove_writer(ours)
    assert ran == ["reader", "writer"]


def test_what_a_timer_adds_waits_for_the_next_turn_even_if_due(loop: Loop) -> None:
    ran: list[str] = []

    def timer() -> None:
        ran.append("timer")
        loop.call_later(-1, ran.append, "timer of the timer")
        loop.call_soon(ran.append, "callback of the timer")

    loop.call_later(0, timer)
    turn(loop)
    assert ran == ["timer"]
    turn(loop)
    assert ran == ["timer", "callback of the timer", "timer of the timer"]


def test_stop_before_running_runs_one_turn(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_soon(lambda: (ran.append(1), loop.call_soon(ran.append, 2)))
    loop.stop()
    loop.run_forever()
    assert ran == [1]
    assert not loop.is_running()


def test_stop_within_a_turn_lets_the_turn_end(loop: Loop) -> None:
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop.stop)
    loop.call_soon(ran.append, 2)
    loop.call_soon(lambda: loop.call_soon(ran.append, 3))
    loop.run_forever()
    assert ran == [1, 2]
    turn(loop)
    assert ran == [1, 2, 3]


def test_stopping_twice_stops_once(loop: Loop) -> None:
    ran: list[int] = []
    loop.stop()
    loop.stop()
    loop.run_forever()
    loop.call_soon(lambda: loop.call_soon(lambda: (ran.append(1), loop.stop())))
    loop.run_forever()
    assert ran == [1]


def test_stop_from_another_thread_needs_a_wake_up(loop: Loop) -> None:
    import threading

    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(loop.stop,))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()


def test_a_stopping_loop_does_not_sleep(loop: Loop) -> None:
    timer = loop.call_later(3600, print)
    turn(loop, 3)
    timer.cancel()


def test_run_until_complete_leaves_what_is_scheduled_for_the_next_run(loop: Loop) -> None:
    ran: list[int] = []

    async def main() -> str:
        loop.call_soon(ran.append, 1)
        return "done"

    assert loop.run_until_complete(main()) == "done"
    turn(loop)
    assert ran == [1]


def test_run_until_complete_of_a_future_that_the_loops_end_leaves_pending_is_an_error(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(future)
    assert not future.done()


def test_callbacks_of_a_future_run_one_turn_after_it_is_done(loop: Loop) -> None:
    ran: list[str] = []
    future = loop.create_future()
    future.add_done_callback(lambda _: ran.append("first"))
    future.add_done_callback(lambda _: ran.append("second"))
    loop.call_soon(lambda: (future.set_result(None), ran.append("done")))
    turn(loop)
    assert ran == ["done"]
    turn(loop)
    assert ran == ["done", "first", "second"]


def test_tasks_take_turns(loop: Loop) -> None:
    steps: list[tuple[str, int]] = []

    async def walk(name: str) -> None:
        for number in range(3):
            steps.append((name, number))
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(walk("a"), walk("b"), walk("c"))

    run(loop, main())
    assert steps == [(name, number) for number in range(3) for name in "abc"]


def test_a_loop_can_be_run_and_stopped_many_times(loop: Loop) -> None:
    ran: list[int] = []
    for number in range(300):
        loop.call_soon(ran.append, number)
        turn(loop)
    assert ran == list(range(300))


def test_the_running_loop_is_known_while_it_runs_only(loop: Loop) -> None:
    seen: list[Any] = []
    loop.call_soon(lambda: seen.append((asyncio.get_running_loop(), loop.is_running())))
    turn(loop)
    assert seen == [(loop, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_loop_nested_in_another_threads_callback_is_independent(make_loop: Any) -> None:
    import threading

    outer, inner, ran = make_loop(), make_loop(), []

    def other() -> None:
        inner.call_soon(ran.append, "inner")
        turn(inner)
        outer.call_soon_threadsafe(outer.stop)

    thread = threading.Thread(target=other)
    outer.call_soon(thread.start)
    outer.run_forever()
    thread.join()
    assert ran == ["inner"]


def test_an_idle_loop_uses_no_processor_time(loop: Loop, stream: Pair) -> None:
    import time

    ours, _ = stream
    loop.add_reader(ours, print)
    timer = loop.call_later(0.15, loop.stop)
    before = time.thread_time()
    loop.run_forever()
    used = time.thread_time() - before
    loop.remove_reader(ours)
    timer.cancel()
    assert used < 0.02


def test_the_ready_queue_is_shown_in_order_under_asyncios_name(loop: Any) -> None:
    handles = [loop.call_soon(print, "") for _ in range(3)]
    assert loop._ready == collections.deque(handles)
    turn(loop)
    assert list(loop._ready) == []
