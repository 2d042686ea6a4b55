"""``call_soon_threadsafe`` from several threads, and loops in parallel threads."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from .loops import LIMIT_S, ferrio_only, run, turn

Loop = asyncio.AbstractEventLoop

since_3_14 = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="cancel() waits for a running callback since Python 3.14"
)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Switch threads so often that they interleave everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_in_thread(loop: Loop) -> threading.Thread:
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    return thread


@since_3_14
@pytest.mark.parametrize("debug", [False, True])
def test_cancelling_a_running_callback_from_another_thread_waits_for_its_end(make_loop: Any, debug: bool) -> None:
    loop = make_loop()
    loop.set_debug(debug)
    loop.slow_callback_duration = LIMIT_S
    started, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def callback() -> None:
        started.set()
        may_end.wait(LIMIT_S)
        order.append("callback ended")

    thread = run_in_thread(loop)
    handle = loop.call_soon_threadsafe(callback)
    assert started.wait(LIMIT_S)
    cancelling = threading.Thread(target=lambda: (handle.cancel(), order.append("cancel returned")))
    cancelling.start()
    cancelling.join(0.02)
    assert cancelling.is_alive()
    may_end.set()
    cancelling.join(LIMIT_S)
    assert order == ["callback ended", "cancel returned"]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)


@since_3_14
def test_cancelling_the_running_callback_from_itself_does_not_wait(loop: Loop) -> None:
    handles: list[asyncio.Handle] = []
    handles.append(loop.call_soon_threadsafe(lambda: handles[0].cancel()))
    turn(loop)
    assert handles[0].cancelled()


def test_a_handle_that_a_program_runs_itself_may_ask_for_itself(loop: Loop) -> None:
    order: list[object] = []

    def callback() -> None:
        order.append(handle.cancelled())
        handle.cancel()
        order.append(handle.cancelled())

    handle = loop.call_soon_threadsafe(callback)
    handle._run()
    assert order == [False, True]


@since_3_14
def test_cancelling_waits_for_whichever_thread_runs_the_handle(loop: Loop) -> None:
    started, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def callback() -> None:
        started.set()
        may_end.wait(LIMIT_S)
        order.append("callback ended")

    handle = loop.call_soon_threadsafe(callback)
    running = threading.Thread(target=handle._run)
    running.start()
    assert started.wait(LIMIT_S)
    cancelling = threading.Thread(target=lambda: (handle.cancel(), order.append("cancel returned")))
    cancelling.start()
    cancelling.join(0.02)
    assert cancelling.is_alive()
    may_end.set()
    cancelling.join(LIMIT_S)
    running.join(LIMIT_S)
    assert order == ["callback ended", "cancel returned"]


@since_3_14
@pytest.mark.parametrize("call", ["cancel", "cancelled"])
def test_a_signal_handler_that_raises_ends_the_wait_for_a_running_callback(make_loop: Any, call: str) -> None:
    loop = make_loop()
    started, may_end = threading.Event(), threading.Event()
    handled: list[int] = []

    def callback() -> None:
        started.set()
        may_end.wait(LIMIT_S)

    def on_alarm(*_: object) -> None:
        handled.append(1)
        if len(handled) == 2:
            raise InterruptedError("the second alarm")

    thread = run_in_thread(loop)
    handle = loop.call_soon_threadsafe(callback)
    assert started.wait(LIMIT_S)
    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        # A callback that nobody ends in time would let the call return.
        with pytest.raises(InterruptedError, match="the second alarm"):
            getattr(handle, call)()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        may_end.set()
    assert handled == [1, 1]
    handle.cancel()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    assert not thread.is_alive()


@since_3_14
def test_cancelling_one_callback_while_another_runs_does_not_wait(make_loop: Any) -> None:
    loop = make_loop()
    started, may_end = threading.Event(), threading.Event()
    ran: list[int] = []
    thread = run_in_thread(loop)
    loop.call_soon_threadsafe(lambda: (started.set(), may_end.wait(LIMIT_S)))
    assert started.wait(LIMIT_S)
    other = loop.call_soon_threadsafe(ran.append, 1)
    other.cancel()
    may_end.set()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    assert ran == []


@since_3_14
def test_a_handle_of_call_soon_threadsafe_is_a_handle(loop: Loop) -> None:
    handle = loop.call_soon_threadsafe(print, "")
    assert isinstance(handle, asyncio.Handle)
    assert handle.get_context() is not None
    assert not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()
    turn(loop)


def test_a_callback_cancelled_before_it_runs_never_runs(loop: Loop) -> None:
    ran: list[int] = []
    handles = [loop.call_soon_threadsafe(ran.append, number) for number in range(100)]
    thread = threading.Thread(target=lambda: [handle.cancel() for handle in handles[::2]])
    thread.start()
    thread.join()
    turn(loop)
    assert ran == list(range(1, 100, 2))


@pytest.mark.usefixtures("quick_switches")
def test_a_cancelled_callback_either_has_run_or_never_will(make_loop: Any) -> None:
    loop = make_loop()
    thread = run_in_thread(loop)
    ran: list[int] = []
    wrong: list[int] = []
    for number in range(300):
        handle = loop.call_soon_threadsafe(ran.append, number)
        handle.cancel()
        had_run = number in ran
        if not had_run:
            # Give it a chance to run all the same.
            gate = threading.Event()
            loop.call_soon_threadsafe(gate.set)
            assert gate.wait(LIMIT_S)
            if number in ran and sys.version_info >= (3, 14):
                wrong.append(number)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    assert wrong == []


@pytest.mark.usefixtures("quick_switches")
def test_threads_that_schedule_cancel_and_stop_at_will_lose_nothing(make_loop: Any) -> None:
    loop = make_loop()
    count, threads_count = 300, 6
    ran: list[tuple[int, int]] = []
    done = threading.Semaphore(0)

    def work(who: int) -> None:
        for number in range(count):
            handle = loop.call_soon_threadsafe(ran.append, (who, number))
            if number % 3 == 0:
                handle.cancel()
            if number % 50 == 0:
                loop.call_soon_threadsafe(loop.stop)
        done.release()

    threads = [threading.Thread(target=work, args=(who,)) for who in range(threads_count)]
    for thread in threads:
        thread.start()
    ended = 0
    while ended < threads_count:
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        while done.acquire(blocking=False):
            ended += 1
    for thread in threads:
        thread.join()
    turn(loop, 3)
    for who in range(threads_count):
        mine = [number for whose, number in ran if whose == who]
        assert mine == sorted(mine)
        assert {number for number in range(count) if number % 3} <= set(mine)


@pytest.mark.usefixtures("quick_switches")
def test_loops_in_many_threads_run_beside_one_another(make_loop: Any) -> None:
    loops = [make_loop() for _ in range(8)]
    results: list[list[int]] = [[] for _ in loops]

    def use(loop: Loop, result: list[int]) -> None:
        async def main() -> None:
            for number in range(100):
                await asyncio.sleep(0)
                loop.call_soon(result.append, number)
            await asyncio.sleep(0.001)

        run(loop, main())

    threads = [threading.Thread(target=use, args=pair) for pair in zip(loops, results, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(100))] * 8


def test_a_loop_can_be_run_by_one_thread_after_another(loop: Loop) -> None:
    seen: list[int] = []
    for _ in range(5):
        thread = threading.Thread(
            target=lambda: (loop.call_soon(lambda: seen.append(threading.get_ident())), turn(loop))
        )
        thread.start()
        thread.join()
    loop.call_soon(lambda: seen.append(threading.get_ident()))
    turn(loop)
    assert len(seen) == 6
    assert seen[-1] == threading.get_ident()


@ferrio_only  # asyncio takes the loop for stopped after the first refusal
def test_a_second_thread_cannot_run_a_loop_that_is_running(make_loop: Any) -> None:
    loop = make_loop()
    thread = run_in_thread(loop)
    ready = threading.Event()
    loop.call_soon_threadsafe(ready.set)
    assert ready.wait(LIMIT_S)
    with pytest.raises(RuntimeError, match="This event loop is already running"):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.close()
    assert loop.is_running()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)


def test_closing_a_loop_while_threads_schedule_gives_them_a_runtime_error_at_the_most(make_loop: Any) -> None:
    for _ in range(10):
        loop = make_loop()
        told: list[str] = []
        started = threading.Event()

        def schedule(loop: Loop = loop, told: list[str] = told, started: threading.Event = started) -> None:
            try:
                for _ in range(100_000):
                    loop.call_soon_threadsafe(int)
                    started.set()
            except RuntimeError as error:
                told.append(str(error))

        thread = threading.Thread(target=schedule)
        thread.start()
        started.wait(LIMIT_S)
        turn(loop)
        loop.close()
        thread.join(LIMIT_S)
        assert told == ["Event loop is closed"]


def test_run_coroutine_threadsafe_brings_results_and_exceptions_back(make_loop: Any) -> None:
    loop = make_loop()
    thread = run_in_thread(loop)

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return 10 // number

    assert asyncio.run_coroutine_threadsafe(work(5), loop).result(LIMIT_S) == 2
    with pytest.raises(ZeroDivisionError):
        asyncio.run_coroutine_threadsafe(work(0), loop).result(LIMIT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)


def test_what_other_threads_schedule_during_a_turn_runs_in_the_next_with_timers_and_descriptors(make_loop: Any) -> None:
    loop = make_loop()
    reading, writing = os.pipe()
    order: list[str] = []

    def from_another_thread(*callbacks: Any) -> None:
        thread = threading.Thread(target=lambda: [loop.call_soon_threadsafe(callback) for callback in callbacks])
        thread.start()
        thread.join(LIMIT_S)

    def on_readable() -> None:
        order.append("descriptor")
        loop.remove_reader(reading)

    def first() -> None:
        order.append("first")
        os.write(writing, b"x")
        loop.call_at(loop.time() - 1, order.append, "timer")
        from_another_thread(second, second)

    def second() -> None:
        order.append("second")
        from_another_thread(lambda: order.append("third"))

    try:
        loop.add_reader(reading, on_readable)
        loop.call_soon(first)
        loop.call_soon(order.append, "behind the first")
        turn(loop)
        assert order == ["first", "behind the first"]
        turn(loop)
        assert order[2:] == ["second", "second", "descriptor", "timer"]
        turn(loop)
        assert order[6:] == ["third", "third"]
    finally:
        loop.close()
        os.close(reading)
        os.close(writing)


def test_threads_that_schedule_without_pause_let_the_loop_run(make_loop: Any) -> None:
    loop = make_loop()
    limit = 1_000_000
    calls: list[int] = []
    has_run = threading.Event()
    before = sys.getswitchinterval()
    # Nobody is made to let go of the interpreter.
    sys.setswitchinterval(LIMIT_S)

    def schedule() -> None:
        count = 0
        while count < limit and not has_run.is_set():
            loop.call_soon_threadsafe(has_run.set)
            count += 1
        calls.append(count)

    try:
        running = run_in_thread(loop)
        threads = [threading.Thread(target=schedule) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        loop.call_soon_threadsafe(loop.stop)
        running.join(LIMIT_S)
    finally:
        sys.setswitchinterval(before)
        loop.close()
    assert max(calls) < limit
