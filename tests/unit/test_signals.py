"""``add_signal_handler`` and ``remove_signal_handler``, and the wake-up descriptor of the process."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from .loops import LIMIT_S, ferrio_only, new_loop, run_until, turn

Loop = asyncio.AbstractEventLoop
USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


@pytest.fixture(autouse=True)
def _signals_are_as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (USR1, USR2, signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert signal.set_wakeup_fd(-1) == -1


def wakeup_fd() -> int:
    """The process's wake-up descriptor."""
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number)
    return number


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_calls_the_handler_with_its_arguments(loop: Loop) -> None:
    got: list[Any] = []
    loop.add_signal_handler(USR1, lambda *args: got.append(args), 1, "two")
    loop.call_soon(send, USR1)
    run_until(loop, lambda: got)
    assert got == [(1, "two")]
    assert loop.remove_signal_handler(USR1)


def test_a_signal_wakes_a_sleeping_loop(loop: Loop) -> None:
    got: list[int] = []
    loop.add_signal_handler(USR1, lambda: (got.append(1), loop.stop()))
    timer = loop.call_later(3600, loop.stop)
    threading.Timer(0.005, send, (USR1,)).start()
    loop.run_forever()
    timer.cancel()
    assert got == [1]
    loop.remove_signal_handler(USR1)


def test_a_signal_that_comes_while_the_loop_is_stopped_is_delivered_later(loop: Loop) -> None:
    got: list[str] = []
    loop.add_signal_handler(USR1, got.append, "one")
    loop.add_signal_handler(USR2, got.append, "two")
    send(USR1)
    send(USR2)
    send(USR1)
    assert got == []
    run_until(loop, lambda: len(got) == 3)
    assert sorted(got) == ["one", "one", "two"]
    loop.remove_signal_handler(USR1)
    loop.remove_signal_handler(USR2)


def test_a_signal_reaches_each_handler_in_the_order_of_the_signals(loop: Loop) -> None:
    got: list[str] = []
    loop.add_signal_handler(USR1, got.append, "one")
    loop.add_signal_handler(USR2, got.append, "two")

    def send_all() -> None:
        for number in (USR2, USR1, USR2):
            send(number)

    loop.call_soon(send_all)
    run_until(loop, lambda: len(got) == 3)
    assert got == ["two", "one", "two"]
    loop.remove_signal_handler(USR1)
    loop.remove_signal_handler(USR2)


def test_a_second_handler_replaces_the_first(loop: Loop) -> None:
    got: list[str] = []
    loop.add_signal_handler(USR1, got.append, "first")
    loop.add_signal_handler(USR1, got.append, "second")
    loop.call_soon(send, USR1)
    run_until(loop, lambda: got)
    turn(loop, 2)
    assert got == ["second"]
    assert loop.remove_signal_handler(USR1)
    assert not loop.remove_signal_handler(USR1)


def test_removing_what_is_not_there_says_so(loop: Loop) -> None:
    assert loop.remove_signal_handler(USR1) is False


def test_removing_sigints_handler_brings_pythons_back(loop: Loop) -> None:
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, print)
    assert signal.getsignal(signal.SIGINT) is not before
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("number", "exception"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1000, ValueError),
        ("text", TypeError),
        (signal.SIGKILL, RuntimeError),
    ],
)
def test_a_signal_that_cannot_be_handled_is_refused_and_leaves_no_trace(
    loop: Loop, number: Any, exception: type[Exception]
) -> None:
    with pytest.raises(exception):
        loop.add_signal_handler(number, print)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_coroutine_is_no_signal_handler(loop: Loop) -> None:
    async def coroutine_function() -> None:
        pass

    with pytest.raises(TypeError, match="coroutines cannot be used with add_signal_handler"):
        loop.add_signal_handler(USR1, coroutine_function)
    assert signal.set_wakeup_fd(-1) == -1


def test_signal_handlers_belong_to_the_main_thread(make_loop: Any) -> None:
    refused: list[str] = []

    def elsewhere() -> None:
        loop = make_loop()
        try:
            loop.add_signal_handler(USR1, print)
        except (RuntimeError, ValueError) as error:
            refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    (text,) = refused
    assert "main thread" in text


def test_closing_the_loop_removes_its_handlers(make_loop: Any) -> None:
    loop = make_loop()
    loop.add_signal_handler(USR1, print)
    loop.add_signal_handler(USR2, print)
    loop.close()
    assert signal.getsignal(USR1) is signal.SIG_DFL
    assert signal.getsignal(USR2) is signal.SIG_DFL


def test_a_closed_loop_takes_no_handler(make_loop: Any) -> None:
    loop = make_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_signal_handler(USR1, print)


def test_an_exception_in_a_handler_goes_to_the_exception_handler(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    loop.add_signal_handler(USR1, lambda: 1 // 0)
    loop.call_soon(send, USR1)
    run_until(loop, lambda: contexts)
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    loop.remove_signal_handler(USR1)


def test_a_handler_removed_before_the_signal_is_read_does_not_run(loop: Loop) -> None:
    got: list[int] = []
    loop.add_signal_handler(USR2, got.append, 2)
    loop.add_signal_handler(USR1, got.append, 1)
    send(USR1)
    loop.remove_signal_handler(USR1)
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert got == []
    loop.remove_signal_handler(USR2)


def test_many_signals_at_once_are_all_delivered(loop: Loop) -> None:
    got: list[int] = []
    loop.add_signal_handler(USR1, got.append, 1)

    def send_many() -> None:
        for _ in range(200):
            send(USR1)

    loop.call_soon(send_many)
    run_until(loop, lambda: len(got) == 200)
    loop.remove_signal_handler(USR1)


def test_a_signal_interrupts_no_system_call_of_the_loop(loop: Loop) -> None:
    # A Python handler without a wake-up descriptor: only EINTR tells the loop.
    got: list[int] = []
    before = signal.signal(USR1, lambda *_: got.append(1))
    sender = threading.Timer(0.003, send, (USR1,))
    sender.start()
    try:
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
    finally:
        # A signal that comes when the handler has gone would end the process.
        sender.join()
        signal.signal(USR1, before)
    assert got == [1]


# --- the wake-up descriptor ---------------------------------------------------------------------------------


@pytest.fixture
def outer() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Another library's wake-up descriptor: (reading end, writing end)."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    signal.set_wakeup_fd(ends[1].fileno())
    yield ends
    signal.set_wakeup_fd(-1)
    for end in ends:
        end.close()


def test_without_handlers_the_loop_takes_no_wake_up_descriptor(
    loop: Loop, outer: tuple[socket.socket, socket.socket]
) -> None:
    turn(loop, 3)
    assert wakeup_fd() == outer[1].fileno()


@ferrio_only
def test_the_wake_up_descriptor_set_before_comes_back_with_the_last_handlers_removal(
    loop: Loop, outer: tuple[socket.socket, socket.socket]
) -> None:
    loop.add_signal_handler(USR1, print)
    assert wakeup_fd() not in (-1, outer[1].fileno())
    loop.add_signal_handler(USR2, print)
    loop.remove_signal_handler(USR1)
    assert wakeup_fd() not in (-1, outer[1].fileno())
    loop.remove_signal_handler(USR2)
    assert wakeup_fd() == outer[1].fileno()


@ferrio_only
def test_the_wake_up_descriptor_set_before_comes_back_when_the_loop_closes(
    make_loop: Any, outer: tuple[socket.socket, socket.socket]
) -> None:
    loop = make_loop()
    loop.add_signal_handler(USR1, print)
    loop.close()
    assert wakeup_fd() == outer[1].fileno()


@ferrio_only
def test_a_refused_handler_leaves_the_wake_up_descriptor_as_it_was(
    loop: Loop, outer: tuple[socket.socket, socket.socket]
) -> None:
    for number, callback in [(signal.SIGKILL, print), (0, print), (USR1, asyncio.sleep)]:
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            loop.add_signal_handler(number, callback)
        assert wakeup_fd() == outer[1].fileno()


@ferrio_only
def test_a_wake_up_descriptor_that_is_gone_meanwhile_is_not_restored(make_loop: Any) -> None:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    signal.set_wakeup_fd(ends[1].fileno())
    loop = make_loop()
    loop.add_signal_handler(USR1, print)
    for end in ends:
        end.close()
    loop.close()
    assert wakeup_fd() == -1


@ferrio_only
def test_signals_of_one_loop_never_go_to_a_descriptor_that_reuses_anothers_number(make_loop: Any) -> None:
    first, second = make_loop(), make_loop()
    first.add_signal_handler(USR1, print)
    number = wakeup_fd()
    second.add_signal_handler(USR2, print)
    first.close()
    ends = [*socket.socketpair(), *socket.socketpair()]
    for end in ends:
        end.setblocking(False)
    strangers = [end for end in ends if end.fileno() == number]
    assert strangers, "the number was to be used again"
    second.close()
    left = signal.set_wakeup_fd(-1)
    for end in ends:
        end.close()
    assert left != number


@ferrio_only
def test_two_loops_one_after_the_other_both_get_their_signals(make_loop: Any) -> None:
    got: list[str] = []
    first, second = make_loop(), make_loop()
    first.add_signal_handler(USR1, got.append, "first")
    second.add_signal_handler(USR2, got.append, "second")
    send(USR2)
    run_until(second, lambda: got)
    second.close()
    send(USR1)
    run_until(first, lambda: len(got) == 2)
    assert got == ["second", "first"]
    first.close()


def test_a_child_process_inherits_no_handler(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGTERM, print)

    async def main() -> int:
        process = await asyncio.create_subprocess_exec("sleep", "30")
        process.terminate()
        return await process.wait()

    assert loop.run_until_complete(main()) == -signal.SIGTERM
    loop.remove_signal_handler(signal.SIGTERM)


# --- signals that arrive beside the wait -----------------------------------------------------------------------


def signal_from_another_thread(number: int) -> threading.Thread:
    """A thread that signals the process; the main thread has blocked the signal, so it comes to this one.

    To the main thread that is what a signal is that comes right before its wait: nothing interrupts the wait.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        # The loop sleeps by then, or is about to; both will do.
        threading.Event().wait(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=work)
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    return thread


@ferrio_only
def test_a_signal_that_does_not_interrupt_the_wait_is_handled_at_once(loop: Any) -> None:
    handled: list[float] = []

    def handle(*_: object) -> None:
        handled.append(loop.time())
        loop.stop()

    before = signal.signal(signal.SIGUSR1, handle)
    thread = signal_from_another_thread(signal.SIGUSR1)
    try:
        limit = loop.call_later(LIMIT_S, loop.stop)
        loop.call_soon(thread.start)
        loop.run_forever()
        assert len(handled) == 1
        assert not limit.cancelled()
        assert loop.time() < limit.when()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)
        thread.join()


@ferrio_only
def test_a_keyboard_interrupt_that_does_not_interrupt_the_wait_ends_the_run(loop: Any) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = signal_from_another_thread(signal.SIGINT)
    try:
        limit = loop.call_later(LIMIT_S, loop.stop)
        loop.call_soon(thread.start)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert loop.time() < limit.when()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, before)
        thread.join()


@ferrio_only
def test_the_wakeup_descriptor_is_the_loops_only_while_it_runs(loop: Any) -> None:
    seen: list[int] = []

    def look() -> None:
        number = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(number, warn_on_full_buffer=False)
        seen.append(number)

    loop.call_soon(look)
    turn(loop)
    assert seen == [loop._csock.fileno()]
    assert signal.set_wakeup_fd(-1) == -1


@ferrio_only
def test_a_wakeup_descriptor_of_the_programs_stays_its_own(loop: Any) -> None:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    with ends[0], ends[1]:
        signal.set_wakeup_fd(ends[1].fileno())
        turn(loop)
        assert signal.set_wakeup_fd(-1) == ends[1].fileno()
        # Set while the loop runs, it stays too.
        loop.call_soon(lambda: signal.set_wakeup_fd(ends[1].fileno()))
        turn(loop)
        assert signal.set_wakeup_fd(-1) == ends[1].fileno()


@ferrio_only
def test_a_handler_added_and_removed_in_a_run_leaves_the_loop_hearing(loop: Any) -> None:
    handled: list[str] = []

    def swap() -> None:
        loop.add_signal_handler(signal.SIGUSR2, handled.append, "loop's")
        assert loop.remove_signal_handler(signal.SIGUSR2)
        thread.start()

    def handle(*_: object) -> None:
        handled.append("program's")
        loop.stop()

    before = signal.signal(signal.SIGUSR1, handle)
    thread = signal_from_another_thread(signal.SIGUSR1)
    try:
        limit = loop.call_later(LIMIT_S, loop.stop)
        loop.call_soon(swap)
        loop.run_forever()
        assert handled == ["program's"]
        assert loop.time() < limit.when()
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)
        thread.join()


@ferrio_only
def test_handlers_outlive_a_run_and_are_heard_in_the_next(loop: Any) -> None:
    handled: list[str] = []
    loop.call_soon(loop.add_signal_handler, signal.SIGUSR1, handled.append, "loop's")
    turn(loop)
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: handled)
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.set_wakeup_fd(-1) == -1


@ferrio_only
def test_a_loop_that_never_sleeps_asks_the_kernel_nothing_for_its_signals(loop: Any) -> None:
    before = loop.statistics().polls
    for _ in range(10):
        loop.call_soon(lambda: None)
        turn(loop)
    assert loop.statistics().polls == before
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)
    turn(loop)
    assert loop.statistics().polls == before + 1
    loop.remove_signal_handler(signal.SIGUSR1)
    turn(loop)
    assert loop.statistics().polls == before + 1


@ferrio_only
def test_a_loop_of_another_thread_leaves_the_wakeup_descriptor_alone() -> None:
    seen: list[Any] = []

    def work() -> None:
        other = new_loop()
        turn(other)
        seen.append(other._csock)  # type: ignore[attr-defined]
        other.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
    assert signal.set_wakeup_fd(-1) == -1
