"""The order of the samples, what happens to one that fails, peers that are missing."""

import io
from typing import Any

import pytest

from harness import cases, peers
from harness.progress import Progress, span
from harness.rounds import plan, planned_seconds, run
from harness.sample import Metrics, SampleFailed, Settings


def go(steps: list[Any], take: Any) -> Any:
    return run(steps, Settings(), take, Progress(planned_seconds(steps, Settings()), io.StringIO()))


def test_every_round_measures_every_case_on_every_loop_beginning_with_another() -> None:
    chosen = cases.pick("echo-protocol,spawn")
    steps = plan(chosen, ["a", "b", "c"], 4)
    for number in range(4):
        echo = [step.loop for step in steps if step.round == number and step.case.name == "echo-protocol"]
        assert sorted(echo) == ["a", "b", "c", "c"]
    assert [step.loop for step in steps if step.case.name == "spawn"][::3] == ["b", "c", "a", "b"]


def test_the_c_server_takes_part_in_network_cases_only() -> None:
    steps = plan(cases.pick("echo-protocol,spawn"), ["asyncio"], 1)
    assert [(step.case.name, step.loop) for step in steps] == [
        ("echo-protocol", "asyncio"),
        ("echo-protocol", "c"),
        ("spawn", "asyncio"),
    ]


def test_applications_run_on_ferrio_with_cpythons_tasks_too() -> None:
    steps = plan(cases.pick("app-fastapi"), ["asyncio", "ferrio"], 1)
    assert [step.loop for step in steps] == ["asyncio", "ferrio", "ferrio-c-tasks"]


def test_a_loop_that_fails_a_case_is_left_alone_there_and_the_rest_goes_on() -> None:
    asked = []

    def take(case: cases.Case, loop: str, _settings: Settings) -> Metrics:
        asked.append((case.name, loop))
        if loop == "asyncio" and case.name == "spawn":
            raise SampleFailed("it broke")
        return {"ns": 1.0}

    outcome = go(plan(cases.pick("spawn,call_soon"), ["asyncio", "uvloop"], 3), take)
    assert asked.count(("spawn", "asyncio")) == 1
    assert asked.count(("call_soon", "asyncio")) == 3
    assert [failure["error"] for failure in outcome.failures] == ["it broke"]
    assert len(outcome.samples) == 9


def test_an_interrupt_keeps_what_was_measured() -> None:
    calls = iter([{"ns": 1.0}, {"ns": 2.0}])

    def take(*_: object) -> Metrics:
        try:
            return next(calls)
        except StopIteration:
            raise KeyboardInterrupt from None

    outcome = go(plan(cases.pick("spawn"), ["asyncio"], 5), take)
    assert outcome.interrupted
    assert len(outcome.samples) == 2


def test_a_missing_peer_is_named_and_left_out() -> None:
    there, left_out = peers.usable(["asyncio", "no_such_loop"])
    assert there == ["asyncio"]
    assert left_out == {
        "no_such_loop": "no_such_loop is left out: it is not installed (python -m pip install --group bench)."
    }


def test_a_peer_that_cannot_make_a_loop_is_left_out_with_its_error() -> None:
    # A module that exists but has no new_event_loop, as a half-built package would.
    there, left_out = peers.usable(["json"])
    assert there == []
    assert left_out["json"] == "json is left out: AttributeError: module 'json' has no attribute 'new_event_loop'"


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no case is called ech0"):
        cases.pick("ech0,spawn")
    assert [case.name for case in cases.pick("call_s*")] == [
        "call_soon",
        "call_soon_threadsafe",
        "call_soon_from_thread",
    ]
    assert {case.group for case in cases.pick("net")} == {"net"}
    assert {case.name for case in cases.pick("large")} > {"echo-protocol-64k-4", "echo-streams-mixed"}


def test_names_and_titles_are_unique() -> None:
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)
    assert len({case.title for case in cases.CASES if case.group != "micro"}) == sum(
        case.group != "micro" for case in cases.CASES
    )


def test_the_namespace_is_a_contestant_where_a_case_uses_it() -> None:
    steps = plan(cases.pick("echo-protocol,echo-streams,echo-readline"), ["ferrio", "ferrio.asyncio"], 1)
    assert {step.case.name for step in steps if step.loop == "ferrio.asyncio"} == {"echo-streams", "echo-readline"}


def test_the_time_left_follows_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = Progress([1.0, 1.0, 2.0], io.StringIO())
    assert progress.left_s() == 4.0
    clock[0] = 103.0
    progress.advance()
    assert progress.left_s() == 9.0
    assert [span(seconds) for seconds in (9, 75, 3725)] == ["9 s", "1 min 15 s", "1 h 02 min"]
