"""What ``loop.start_measuring()`` measures: turns, callbacks, waits, coroutines; the lag of timers."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

import ferrio
from ferrio.metrics import BOUNDS_S, Histogram
from ferrio.testing import VirtualClock

from .loops import ferrio_only, turn

pytestmark = ferrio_only


@pytest.fixture
def loop() -> Iterator[ferrio.Loop]:
    loop = ferrio.new_event_loop()
    yield loop
    loop.close()


def histogram(*times_s: float) -> Histogram:
    counts = [0] * (len(BOUNDS_S) + 1)
    for time_s in times_s:
        counts[next((index for index, bound in enumerate(BOUNDS_S) if time_s <= bound), len(BOUNDS_S))] += 1
    return Histogram(tuple(counts), sum(times_s))


def spin(seconds: float) -> None:
    """Take the processor's time, whatever else runs."""
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_nothing_is_measured_until_it_is_asked_for(loop: ferrio.Loop) -> None:
    loop.run_until_complete(asyncio.sleep(0))
    assert [each.total for each in loop.histograms()] == [0, 0, 0, 0]
    assert loop.coroutine_costs() == {}


def test_turns_and_callbacks_are_counted_with_their_length(loop: ferrio.Loop) -> None:
    loop.start_measuring()
    before = loop.statistics()
    loop.call_soon(spin, 0.02)
    loop.call_soon(int)
    turn(loop)
    loop.call_soon(int)
    turn(loop)
    found = loop.histograms()
    assert found.callbacks.total == loop.statistics().callbacks - before.callbacks
    assert found.turns.total == 2
    assert found.callbacks.sum_s == pytest.approx(found.turns.sum_s)
    assert found.turns.sum_s >= 0.02
    assert found.turns.longest() >= 0.02
    loop.stop_measuring()
    loop.call_soon(int)
    turn(loop)
    assert loop.histograms() == found


def test_waits_last_until_the_kernel_has_answered(loop: ferrio.Loop) -> None:
    loop.start_measuring()

    async def main() -> None:
        waiting = loop.create_future()
        threading.Timer(0.05, loop.call_soon_threadsafe, [waiting.set_result, None]).start()
        await waiting

    loop.run_until_complete(main())
    waits = loop.histograms().waits
    assert waits.total == loop.statistics().polls
    assert waits.sum_s > 0.02
    assert waits.longest() > 0.02


def test_the_lag_of_timers_is_always_counted(loop: ferrio.Loop) -> None:
    loop.call_later(0, int)
    loop.call_soon(spin, 0.02)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    lag = loop.histograms().timer_lag
    assert lag.total >= 1
    assert lag.longest() >= loop.statistics().max_timer_lag > 0.01


def test_the_time_of_coroutines_is_told_by_their_names(loop: ferrio.Loop) -> None:
    async def busy() -> None:
        spin(0.02)
        await asyncio.sleep(0)
        spin(0.01)

    async def idle() -> None:
        await asyncio.sleep(0.03)

    async def main() -> None:
        await asyncio.gather(busy(), busy(), idle())

    loop.start_measuring(coroutines=True)
    loop.run_until_complete(main())
    costs = {name.rpartition(".")[2]: cost for name, cost in loop.coroutine_costs().items()}
    assert costs["busy"].steps == 4
    assert costs["busy"].cpu_s >= 0.06
    assert costs["busy"].longest_s >= 0.02
    assert costs["idle"].steps == 2
    assert costs["idle"].cpu_s < costs["busy"].cpu_s
    assert costs["main"].steps >= 2


def test_names_of_coroutines_are_limited(loop: ferrio.Loop) -> None:
    async def one(name: str) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        for number in range(1100):
            coroutine = one("")
            coroutine.__qualname__ = f"name {number} \udc80"
            await loop.create_task(coroutine)

    loop.start_measuring(coroutines=True)
    loop.run_until_complete(main())
    costs = loop.coroutine_costs()
    assert len(costs) == 1001
    assert costs["(others)"].steps >= 200


def test_the_one_who_wants_most_is_served(loop: ferrio.Loop) -> None:
    loop.start_measuring(coroutines=True)
    loop._measure_for("another", 1)
    loop.stop_measuring()
    loop.call_soon(int)
    turn(loop)
    assert loop.histograms().callbacks.total == 1
    loop._measure_for("another", 0)
    loop.call_soon(int)
    turn(loop)
    assert loop.histograms().callbacks.total == 1


def test_a_loop_with_a_clock_of_the_programs_is_measured() -> None:
    loop = ferrio.new_event_loop(clock=VirtualClock())
    loop.start_measuring()
    loop.run_until_complete(asyncio.sleep(3600))
    found = loop.histograms()
    assert found.turns.total >= 2
    assert found.turns.sum_s < 3600
    loop.close()


def test_a_callback_that_leaves_the_loop_is_measured(loop: ferrio.Loop) -> None:
    def leave() -> None:
        raise SystemExit

    loop.start_measuring()
    loop.call_soon(leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert loop.histograms().callbacks.total == 1


def test_measured_turns_do_what_others_do() -> None:
    def order(*, measured: bool) -> list[object]:
        loop, seen = ferrio.new_event_loop(), list[object]()
        if measured:
            loop.start_measuring(coroutines=True)

        async def worker(number: int) -> None:
            for step in itertools.count():
                seen.append((number, step))
                if step == number:
                    return
                await asyncio.sleep(0)

        async def main() -> None:
            loop.call_soon(seen.append, "soon")
            loop.call_soon_threadsafe(seen.append, "from a thread")
            loop.call_later(0, seen.append, "later")
            await asyncio.gather(*map(worker, range(5)))

        loop.run_until_complete(main())
        loop.close()
        return seen

    assert order(measured=True) == order(measured=False)


def test_quantiles_are_found_within_their_bucket() -> None:
    found = histogram(*[1e-6] * 50, *[0.9e-3] * 49, 100.0)
    assert found.total == 100
    assert found.quantile(0.5) == pytest.approx(1e-6)
    assert 0.512e-3 < found.quantile(0.75) < 1.024e-3
    assert found.quantile(0.999) == BOUNDS_S[-1]
    assert found.longest() == float("inf")
    assert histogram().quantile(0.5) == histogram().longest() == 0
    assert (found - histogram(100.0)).longest() == BOUNDS_S[10]


@pytest.mark.parametrize(
    ("value", "measures", "coroutines"),
    [("1", True, False), ("coroutines", True, True), ("0", False, False), ("", False, False)],
)
def test_the_environment_has_every_loop_measured(
    monkeypatch: pytest.MonkeyPatch, value: str, measures: bool, coroutines: bool
) -> None:
    monkeypatch.setenv("FERRIO_MEASURE", value)
    for _ in range(2):
        loop = ferrio.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        assert (loop.histograms().callbacks.total > 0) == measures
        assert (len(loop.coroutine_costs()) > 0) == coroutines
        loop.stop_measuring()
        before = loop.histograms().callbacks.total
        loop.run_until_complete(asyncio.sleep(0))
        assert loop.histograms().callbacks.total == before
        loop.close()


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRIO_MEASURE", "everything")
    with pytest.raises(ValueError, match="FERRIO_MEASURE"):
        ferrio.new_event_loop()
