"""A loop whose ``time``, or whose selector's ``select``, a program has replaced follows it."""

import asyncio
import fractions
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import ferrio

from .loops import LIMIT_S, NAME, ferrio_only, run_until, turn
from .socket_pairs import Pair

Loop = asyncio.AbstractEventLoop
Base: Any = ferrio.Loop if NAME == "ferrio" else asyncio.SelectorEventLoop


class Clock:
    """A time that tests move, and how often it was read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


class OwnTime(Base):  # type: ignore[misc]
    """A loop that overrides ``time``."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__()

    def time(self) -> float:
        return self.clock()


def by_instance() -> tuple[Any, Clock]:
    loop, clock = Base(), Clock()
    loop.time = clock
    return loop, clock


def by_subclass() -> tuple[Any, Clock]:
    loop = OwnTime()
    return loop, loop.clock


def by_changed_class() -> tuple[Any, Clock]:
    class Timed(Base):  # type: ignore[misc]
        def time(self) -> float:
            return clock()

    loop, clock = Base(), Clock()
    loop.__class__ = Timed
    return loop, clock


@pytest.fixture(params=[by_instance, by_subclass, by_changed_class])
def timed(request: pytest.FixtureRequest) -> Any:
    loop, clock = request.param()
    yield loop, clock
    loop.close()


def test_timers_are_due_when_the_replaced_time_says_so(timed: tuple[Any, Clock]) -> None:
    loop, clock = timed
    ran: list[str] = []
    handle = loop.call_later(3600, ran.append, "late")
    loop.call_at(1010.0, ran.append, "soon")
    assert handle.when() == 4600.0
    turn(loop, 3)
    assert ran == []
    clock.now = 1010.0
    turn(loop)
    assert ran == ["soon"]
    clock.now = 4600.0
    turn(loop)
    assert ran == ["soon", "late"]


def test_sleeps_and_timeouts_follow_the_replaced_time(timed: tuple[Any, Clock]) -> None:
    loop, clock = timed
    outcomes: list[object] = []

    async def sleep() -> None:
        outcomes.append(await asyncio.sleep(5, "slept"))

    async def wait() -> None:
        try:
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        except TimeoutError:
            outcomes.append("timed out")

    tasks = [loop.create_task(sleep()), loop.create_task(wait())]
    turn(loop, 4)
    assert outcomes == []
    clock.now += 5
    turn(loop, 4)
    assert outcomes == ["slept"]
    clock.now += 2
    turn(loop, 4)
    assert outcomes == ["slept", "timed out"]
    assert all(task.done() for task in tasks)


def test_a_patch_of_time_lasts_until_it_is_undone(loop: Loop) -> None:
    ran: list[str] = []

    async def main() -> None:
        with mock.patch.object(loop, "time") as mocked:
            mocked.return_value = 50.0
            loop.call_later(10, ran.append, "patched")
            await asyncio.sleep(0)
            mocked.return_value = 60.0
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert ran == ["patched"]
        before = loop.time()
        await asyncio.sleep(0.001)
        assert loop.time() >= before + 0.001

    loop.run_until_complete(asyncio.wait_for(main(), LIMIT_S))


@pytest.mark.parametrize("is_made_before", [False, True], ids=["made behind", "made before"])
def test_a_replaced_monotonic_is_the_time_of_runs_that_begin_later(
    monkeypatch: pytest.MonkeyPatch, is_made_before: bool
) -> None:
    clock, ran = Clock(), []
    made = Base() if is_made_before else None
    monkeypatch.setattr(time, "monotonic", clock)
    loop = made or Base()

    async def main() -> None:
        assert loop.time() == clock.now
        loop.call_later(10, ran.append, "timer")
        sleeping = asyncio.create_task(asyncio.sleep(20, "slept"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (ran, sleeping.done()) == ([], False)
        clock.now += 10
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (ran, sleeping.done()) == (["timer"], False)
        clock.now += 10
        assert await sleeping == "slept"

    try:
        loop.run_until_complete(main())
        monkeypatch.undo()
        before = time.monotonic()
        loop.run_until_complete(asyncio.sleep(0.001))
        assert before + 0.001 <= loop.time() <= time.monotonic()
    finally:
        loop.close()


def test_the_class_of_the_loop_can_be_patched_before_a_run(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(type(loop), "time", lambda self: clock())
    ran: list[int] = []
    loop.call_at(1005.0, ran.append, 1)
    turn(loop, 2)
    assert ran == []
    clock.now = 1005.0
    turn(loop, 2)
    assert ran == [1]


def test_the_time_of_a_timer_is_what_the_program_adds_up(loop: Loop) -> None:
    loop.time = lambda: fractions.Fraction(1, 3)  # type: ignore[method-assign, assignment, return-value]
    handle = loop.call_later(fractions.Fraction(1, 3), print)  # type: ignore[arg-type]
    assert handle.when() == fractions.Fraction(2, 3)
    handle.cancel()


def test_what_time_raises_ends_the_run(loop: Loop) -> None:
    def fail() -> float:
        raise LookupError("no time")

    loop.call_later(1, print)
    loop.time = fail  # type: ignore[method-assign]
    with pytest.raises(LookupError, match="no time"):
        loop.run_forever()
    assert not loop.is_running()
    with pytest.raises(LookupError, match="no time"):
        loop.call_later(1, print)
    del loop.time  # type: ignore[method-assign]
    turn(loop)


class Selecting:
    """A replacement for ``select`` that jumps to the next timer, and what it was asked for."""

    def __init__(self, loop: Any) -> None:
        self.clock = Clock()
        self.timeouts: list[float | None] = []
        self.found: list[int] = []
        self.select: Callable[[float | None], list[Any]] = loop._selector.select
        self.jumps = True
        loop.time = self.clock
        loop._selector.select = self

    def __call__(self, timeout: float | None = None) -> list[Any]:
        self.timeouts.append(timeout)
        events = self.select(0 if self.jumps else timeout)
        self.found.append(len(events))
        if not events and timeout and self.jumps:
            self.clock.now += timeout
        return events


def test_a_replaced_select_is_called_with_the_time_that_is_left(loop: Any) -> None:
    selecting = Selecting(loop)
    steps: list[object] = []

    async def main() -> None:
        for delay in (0, 2.5, 100_000.0):
            await asyncio.sleep(delay)
            steps.append(loop.time())

    loop.run_until_complete(main())
    assert steps == [1000.0, 1002.5, 101_002.5]
    # A day is asyncio's longest wait.
    assert [each for each in selecting.timeouts if each] == [2.5, 86_400.0, 13_600.0]


def test_the_loops_own_select_finds_sockets_and_calls_of_threads(loop: Any, stream: Pair) -> None:
    selecting = Selecting(loop)
    selecting.jumps = False
    ours, theirs = stream
    got: list[object] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"bytes")
    run_for_real(loop, lambda: got)
    assert got == [b"bytes"]
    assert max(selecting.found) > 0
    selecting.found.clear()
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(got.append, "thread"))
    loop.call_soon(thread.start)
    run_for_real(loop, lambda: len(got) > 1)
    thread.join()
    assert got == [b"bytes", "thread"]
    loop.remove_reader(ours)


def run_for_real(loop: Any, condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0)

    loop.run_until_complete(wait())


def test_a_wait_ends_when_another_thread_calls(loop: Any) -> None:
    selecting = Selecting(loop)
    selecting.jumps = False
    future = loop.create_future()
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, "called"))
    # Started by the last callback before the wait, so that most calls come while it lasts.
    loop.call_soon(thread.start)
    assert loop.run_until_complete(future) == "called"
    thread.join()


def test_transports_and_streams_work_over_a_replaced_select(loop: Any) -> None:
    Selecting(loop)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.write(await reader.readexactly(100_000))
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * 100_000)
            answer = await reader.read()
            writer.close()
        return answer

    assert loop.run_until_complete(main()) == b"x" * 100_000


def test_another_selector_can_take_the_place(loop: Any) -> None:
    class Wrapping:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.calls = 0

        def select(self, timeout: float | None = None) -> list[Any]:
            self.calls += 1
            events: list[Any] = self.inner.select(timeout)
            return events

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    wrapping = loop._selector = Wrapping(loop._selector)
    turn(loop, 3)
    assert wrapping.calls == 3
    loop._selector = wrapping.inner
    turn(loop, 3)
    assert wrapping.calls == 3


def test_what_select_raises_ends_the_run(loop: Any) -> None:
    def fail(timeout: float | None = None) -> list[Any]:
        raise RuntimeError("nothing will ever happen")

    inner = loop._selector.select
    loop._selector.select = fail
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        loop.run_forever()
    loop._selector.select = inner
    turn(loop)


def test_time_and_select_are_asked_in_asyncios_order() -> None:
    def course(loop: Any) -> list[object]:
        steps: list[object] = []
        clock = Clock()

        def time() -> float:
            steps.append("time")
            return clock.now

        def select(timeout: float | None = None) -> list[Any]:
            steps.append(("select", timeout))
            clock.now += timeout or 0
            return inner(0)  # type: ignore[no-any-return]

        inner = loop._selector.select
        loop.time, loop._selector.select = time, select

        async def main() -> None:
            for delay in (0, 1.5, 0.1):
                steps.append(("sleep", delay))
                await asyncio.sleep(delay)
            async with asyncio.timeout(10):
                await asyncio.sleep(3)

        loop.run_until_complete(main())
        loop.close()
        return steps

    assert course(Base()) == course(asyncio.SelectorEventLoop())


@ferrio_only
def test_outside_of_a_turn_select_takes_nothing_from_the_loop(loop: Any, stream: Pair) -> None:
    ours, theirs = stream
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"bytes")
    assert [(key.fd, events) for key, events in loop._selector.select(LIMIT_S)] == [
        (ours.fileno(), selectors.EVENT_READ)
    ]
    assert got == []
    run_until(loop, lambda: got)
    loop.remove_reader(ours)


@ferrio_only
def test_another_thread_cannot_wait_in_the_loops_place(loop: Any) -> None:
    results: list[object] = []

    def select(timeout: float | None = None) -> list[Any]:
        thread = threading.Thread(target=lambda: results.append(inner(0)))
        thread.start()
        thread.join()
        return inner(0)  # type: ignore[no-any-return]

    inner = loop._selector.select
    loop._selector.select = select
    turn(loop, 2)
    assert results == [[], []]


def test_a_closed_loop_forgets_its_clock() -> None:
    loop = Base()
    Selecting(loop)
    turn(loop)
    loop.close()
    assert loop.time() == 1000.0
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)


@ferrio_only
def test_a_loop_that_is_closed_within_select_is_not_waited_for(loop: Any) -> None:
    inner = loop._selector.select
    waits: list[object] = []

    def select(timeout: float | None = None) -> list[Any]:
        loop.close()
        for limit in (0, 0.01):
            try:
                waits.append(inner(limit))
            except (OSError, RuntimeError) as error:
                waits.append(type(error))
        return []

    loop._selector.select = select
    loop._run_once()
    assert loop.is_closed()
    assert len(waits) == 2


@ferrio_only
def test_a_turn_within_select_runs_what_is_ready(loop: Any) -> None:
    ran: list[int] = []
    inner = loop._selector.select

    def select(timeout: float | None = None) -> list[Any]:
        loop._selector.select = inner
        loop.call_soon(ran.append, 1)
        loop._run_once()
        return inner(0)  # type: ignore[no-any-return]

    loop._selector.select = select
    turn(loop)
    assert ran == [1]


def test_raw_sockets_work_over_a_replaced_select(loop: Any) -> None:
    Selecting(loop)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def answer() -> None:
            await asyncio.sleep(30)
            await loop.sock_sendall(theirs, b"answer")

        async def main() -> bytes:
            task = loop.create_task(answer())
            received: bytes = await loop.sock_recv(ours, 100)
            await task
            return received

        assert loop.run_until_complete(main()) == b"answer"
