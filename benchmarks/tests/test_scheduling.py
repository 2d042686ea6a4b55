"""Every in-process benchmark does what its name says, as often as it claims."""

import asyncio

import pytest

from micro import scheduling

ROUNDS = 3


class Calls:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def counted(name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run some rounds of a benchmark; return how often its callback has run when it says that it is done."""
    calls = Calls()
    monkeypatch.setattr(scheduling, "noop", calls)
    elapsed = await scheduling.BENCHMARKS[name].run(asyncio.get_running_loop(), ROUNDS)
    assert elapsed > 0
    return calls.count


@pytest.mark.parametrize(
    ("name", "callbacks_per_round"),
    [
        ("call_soon", 1_000),
        ("call_soon_threadsafe", 999),  # the last of a burst ends it
        ("call_soon_from_thread", 9_999),
        ("call_later_cancel", 0),
        ("executor_roundtrip", 1),
    ],
)
def test_all_callbacks_have_run_when_the_clock_stops(
    name: str, callbacks_per_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner() as runner:
        assert runner.run(counted(name, monkeypatch)) == ROUNDS * callbacks_per_round


# The larger sizes of a benchmark are the same code, and take seconds each.
@pytest.mark.parametrize("name", [name for name, each in scheduling.BENCHMARKS.items() if each.per_round < 100_000])
def test_every_benchmark_gives_a_figure(name: str) -> None:
    with asyncio.Runner() as runner:
        figures = runner.run(scheduling.measure(scheduling.BENCHMARKS[name], seconds=0.001, repeats=2))
    unit = scheduling.BENCHMARKS[name].unit
    assert 0 < figures[f"{unit}_min"] <= figures[unit] <= figures[f"{unit}_max"]
