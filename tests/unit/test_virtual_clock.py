"""``ferrio.testing.VirtualClock``: time that passes when a loop has nothing to do, and stands for what is outside."""

import asyncio
import concurrent.futures
import math
import signal
import sys
import threading
import time

import pytest

import ferrio
from ferrio.testing import VirtualClock, WaitsForEver

from .loops import LIMIT_S, ferrio_only

pytestmark = ferrio_only

HOUR = 3600.0
YEAR = 365 * 24 * HOUR


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_sleep_is_over_at_once_at_exactly_its_time() -> None:
    async def main() -> list[float]:
        times = [now()]
        for delay in (0.1, 0.2, HOUR, 10 * YEAR):
            await asyncio.sleep(delay)
            times.append(now())
        return times

    before = time.monotonic()
    assert ferrio.run(main(), clock=VirtualClock()) == [
        0.0,
        0.1,
        0.1 + 0.2,
        0.1 + 0.2 + HOUR,
        0.1 + 0.2 + HOUR + 10 * YEAR,
    ]
    assert time.monotonic() - before < HOUR


def test_a_clock_starts_where_it_is_told_and_goes_on_with_the_next_loop() -> None:
    clock = VirtualClock(100)
    ferrio.run(asyncio.sleep(5), clock=clock)
    assert (clock.time(), clock.elapsed) == (105.0, 5.0)
    loop = ferrio.new_event_loop(clock=clock)
    loop.run_until_complete(asyncio.sleep(1))
    assert loop.time() == 106.0
    with ferrio.Runner(loop_factory=ferrio.new_event_loop) as runner, pytest.raises(RuntimeError, match="belongs to"):
        clock.attach(runner.get_loop())
    loop.close()
    assert loop.time() == 106.0


def test_timers_timeouts_and_calls_run_in_the_order_of_their_deadlines() -> None:
    steps: list[tuple[float, object]] = []

    async def worker(name: str, period: float) -> None:
        while True:
            await asyncio.sleep(period)
            steps.append((now(), name))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(2.5, lambda: steps.append((now(), "later")))
        loop.call_at(0.5, lambda: steps.append((now(), "at")))
        tasks = [loop.create_task(worker("a", 1)), loop.create_task(worker("b", 2))]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 4.5)
        steps.append((now(), "timed out"))
        for task in tasks:
            task.cancel()

    ferrio.run(main(), clock=VirtualClock())
    assert steps == [
        (0.5, "at"),
        (1.0, "a"),
        (2.0, "b"),
        (2.0, "a"),
        (2.5, "later"),
        (3.0, "a"),
        (4.0, "b"),
        (4.0, "a"),
        (4.5, "timed out"),
    ]


def test_a_hundred_programs_that_sleep_for_hours_are_over_in_seconds() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(asyncio.sleep(number * HOUR))

    before = time.process_time()
    for _ in range(100):
        clock = VirtualClock()
        ferrio.run(main(), clock=clock)
        assert clock.time() == 9 * HOUR
    assert time.process_time() - before < 5


def test_time_stands_while_a_thread_works() -> None:
    async def main() -> tuple[str, float]:
        began = threading.Event()

        def work() -> str:
            began.set()
            time.sleep(0.05)
            return "worked"

        async with asyncio.timeout(1):
            result = await asyncio.to_thread(work)
        assert began.is_set()
        return result, now()

    assert ferrio.run(main(), clock=VirtualClock()) == ("worked", 0.0)


def test_time_does_not_stand_for_what_it_is_told_not_to() -> None:
    release = threading.Event()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(release.wait, LIMIT_S), HOUR)
        assert now() == HOUR
        release.set()

    ferrio.run(main(), clock=VirtualClock(stands_for=()))
    with pytest.raises(ValueError, match="sockets"):
        VirtualClock(stands_for=["sockets"])


def test_time_stands_while_it_is_held() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def work() -> None:
            time.sleep(0.05)
            loop.call_soon_threadsafe(future.set_result, None)

        thread = threading.Thread(target=work)
        thread.start()
        with clock.held():
            await asyncio.wait_for(future, 1)
        thread.join()
        return now()

    clock = VirtualClock()
    assert ferrio.run(main(), clock=clock) == 0.0


def test_a_thread_that_the_program_has_started_may_wake_it() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()

        def work() -> None:
            time.sleep(0.05)
            loop.call_soon_threadsafe(future.set_result, "woken")

        thread = threading.Thread(target=work)
        thread.start()
        result = await future
        thread.join()
        return result

    assert ferrio.run(main(), clock=VirtualClock()) == "woken"


def test_time_stands_while_a_child_is_waited_for() -> None:
    async def main() -> tuple[bytes, int | None, float]:
        program = "import sys, time; time.sleep(0.05); sys.stdout.write(sys.stdin.read().upper())"
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
        async with asyncio.timeout(1):
            output, _ = await child.communicate(b"text")
        return output, child.returncode, now()

    assert ferrio.run(main(), clock=VirtualClock()) == (b"TEXT", 0, 0.0)


def test_a_child_that_nobody_waits_for_does_not_hold_the_time() -> None:
    async def main() -> float:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
        await asyncio.sleep(HOUR)
        child.kill()
        await child.wait()
        return now()

    assert ferrio.run(main(), clock=VirtualClock()) == HOUR


def test_connections_within_the_program_work_and_their_timeouts_are_over_at_once() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(300_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), HOUR)
        writer.close()

    async def main() -> float:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * 300_000)
            async with asyncio.timeout(1):
                assert await reader.readexactly(300_000) == b"x" * 300_000
            assert now() == 0.0
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        return now()

    assert ferrio.run(main(), clock=VirtualClock(io_grace_s=0.1)) == HOUR


def test_a_program_that_waits_for_ever_fails_and_says_what_for() -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(forgotten(), name="the forgotten one")

    with pytest.raises(WaitsForEver) as caught:
        ferrio.run(main(), clock=VirtualClock())
    message = str(caught.value)
    assert "no timer is set" in message
    (line,) = [line for line in message.splitlines() if line.startswith("  the forgotten one:")]
    assert f"{__file__}:{forgotten.__code__.co_firstlineno + 1}" in line
    assert line.endswith("waits for Event.wait")


def test_an_infinite_sleep_is_no_timer() -> None:
    with pytest.raises(WaitsForEver, match="no timer is set"):
        ferrio.run(asyncio.sleep(math.inf), clock=VirtualClock())


def test_a_used_executor_does_not_hide_that_a_program_waits_for_ever() -> None:
    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor() as own:
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(int)
            await loop.run_in_executor(own, int)
            await loop.create_future()

    with pytest.raises(WaitsForEver, match="nothing outside can wake"):
        ferrio.run(main(), clock=VirtualClock(patience_s=math.inf))


def test_patience_ends_a_wait_for_the_outside() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            await server.serve_forever()

    with pytest.raises(WaitsForEver, match="only I/O, signals and threads are left"):
        ferrio.run(main(), clock=VirtualClock(patience_s=0))

    async def hold() -> None:
        with clock.held("the answer of a colleague"):
            await asyncio.sleep(1)

    clock = VirtualClock(patience_s=0.01)
    with pytest.raises(WaitsForEver, match="time stands for the answer of a colleague"):
        ferrio.run(hold(), clock=clock)


def test_a_clock_that_is_moved_by_hand_stands_otherwise() -> None:
    ran: list[tuple[float, str]] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            ran.append((now(), "tick"))

    async def main() -> None:
        task = asyncio.create_task(tick())
        asyncio.get_running_loop().call_at(10.25, lambda: ran.append((now(), "call")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert ran == []
        await clock.run_for(2.5)
        assert (now(), ran) == (2.5, [(1.0, "tick"), (2.0, "tick")])
        ran.clear()
        clock.advance(8)
        assert now() == 10.5
        for _ in range(3):
            await asyncio.sleep(0)
        # Both were due in this turn; the task that had slept goes on in the next.
        assert ran == [(10.5, "call"), (10.5, "tick")]
        task.cancel()

    clock = VirtualClock(automatic=False)
    ferrio.run(main(), clock=clock)
    with pytest.raises(WaitsForEver, match=r"due in 1\.0 s, and nobody moves the time"):
        ferrio.run(asyncio.sleep(1), clock=VirtualClock(automatic=False))
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="cannot advance"):
            clock.advance(wrong)


def test_another_thread_may_advance_the_time() -> None:
    clock = VirtualClock(automatic=False)

    async def main() -> float:
        thread = threading.Thread(target=lambda: (time.sleep(0.05), clock.advance(HOUR)))
        thread.start()
        await asyncio.sleep(HOUR)
        thread.join()
        return now()

    assert ferrio.run(main(), clock=clock) == HOUR


def test_signal_handlers_wake_a_program_without_timers() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, future.set_result, "signalled")
        timer = threading.Timer(0.05, signal.raise_signal, [signal.SIGUSR1])
        timer.start()
        result = await future
        timer.join()
        loop.remove_signal_handler(signal.SIGUSR1)
        return result

    assert ferrio.run(main(), clock=VirtualClock()) == "signalled"


def test_a_clock_can_be_attached_for_a_while() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        methods = {name: getattr(loop, name) for name in ("time", "run_in_executor", "create_connection")}
        real = loop.time()
        with clock.attached(loop):
            await asyncio.sleep(HOUR)
            assert loop.time() == clock.time() == HOUR
        assert {name: getattr(loop, name) for name in methods} == methods
        assert not loop._follows_program  # type: ignore[attr-defined]
        assert real <= loop.time() < real + HOUR
        await asyncio.sleep(0.001)

    clock = VirtualClock(0)
    ferrio.run(main())


def test_only_a_native_loop_takes_a_clock() -> None:
    loop = asyncio.SelectorEventLoop()
    main = asyncio.sleep(0)
    with pytest.raises(TypeError, match="needs a loop of Ferrio's"):
        ferrio.run(main, loop_factory=lambda: loop, clock=VirtualClock())
    main.close()
    assert loop.is_closed()


def test_the_exit_of_a_run_waits_for_the_threads_of_its_executor() -> None:
    done: list[str] = []
    clock = VirtualClock()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.05), done.append("done")))

    ferrio.run(main(), clock=clock)
    assert (done, clock.time()) == (["done"], 0.0)
