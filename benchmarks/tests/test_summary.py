"""Medians, spreads, ratios, and the targets that are judged by them."""

import pytest

from harness import targets
from harness.summary import ratio, spread, summarise
from harness.targets import Target
from results import echo_sample, micro_sample


def test_a_spread_is_median_smallest_and_largest() -> None:
    assert spread([5.0, 1.0, 9.0]) == {"median": 5.0, "min": 1.0, "max": 9.0}
    assert spread([4.0, 1.0]) == {"median": 2.5, "min": 1.0, "max": 4.0}


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine is twice as slow in round 1; the loops keep their proportion.
    assert ratio({0: 8.0, 1: 16.0}, {0: 10.0, 1: 20.0}) == {"median": 0.8, "min": 0.8, "max": 0.8}


def test_a_round_that_one_side_lacks_is_left_out_of_the_ratio() -> None:
    assert ratio({0: 8.0, 1: 1.0}, {0: 10.0, 2: 7.0}) == {"median": 0.8, "min": 0.8, "max": 0.8}
    assert ratio({0: 8.0}, {1: 10.0}) is None


def test_a_summary_has_the_ratio_to_uvloop_or_none() -> None:
    samples = [echo_sample("uvloop", n, 10.0) for n in range(3)]
    samples += [echo_sample("ferrio", n, cpu) for n, cpu in enumerate([8.0, 7.0, 9.0])]
    samples.append(micro_sample("spawn", "ferrio", 0, 300.0))
    summary = summarise(samples)
    assert summary["echo-protocol"]["ferrio"]["cpu_us"] == {
        "median": 8.0,
        "min": 7.0,
        "max": 9.0,
        "ratio": {"median": 0.8, "min": 0.7, "max": 0.9},
    }
    assert summary["spawn"]["ferrio"]["ns"]["ratio"] is None


@pytest.mark.parametrize(("cpu_us", "verdict"), [(7.5, "pass"), (7.51, "miss")])
def test_a_bound_itself_passes(cpu_us: float, verdict: str) -> None:
    target = Target("goal", "echo-protocol", "cpu_us", "uvloop", at_most=0.75)
    samples = [echo_sample("uvloop", 0, 10.0), echo_sample("ferrio", 0, cpu_us)]
    assert [entry.verdict for entry in targets.judge([target], samples)] == [verdict]


def test_a_rate_has_to_be_large_enough() -> None:
    target = Target("goal", "call_soon", "ops_per_s", "uvloop", at_least=1.5)
    samples = [micro_sample("call_soon", "uvloop", 0, 150.0), micro_sample("call_soon", "ferrio", 0, 90.0)]
    (entry,) = targets.judge([target], samples)
    assert entry.verdict == "pass"
    assert entry.ratio is not None
    assert entry.ratio["median"] == pytest.approx(1 / 0.6)


def test_a_goal_without_figures_is_not_passed() -> None:
    target = Target("goal", "call_soon", "ops_per_s", "zuvloop", at_least=1.5)
    (entry,) = targets.judge([target], [micro_sample("call_soon", "ferrio", 0, 90.0)])
    assert entry.verdict == "not measured"


def test_the_best_peer_is_the_one_with_the_best_median() -> None:
    samples = [
        micro_sample("spawn", loop, number, ns)
        for loop, each in {"ferrio": (90.0, 95.0), "uvloop": (70.0, 200.0), "zuvloop": (100.0, 110.0)}.items()
        for number, ns in enumerate(each)
    ]
    (entry,) = targets.judge([Target("goal", "spawn", "ns", targets.BEST, at_most=1.0)], samples)
    assert (entry.peer, entry.verdict) == ("zuvloop", "pass")
    (entry,) = targets.judge([Target("goal", "spawn", "ns", targets.BEST, at_most=1.0)], samples[:2])
    assert (entry.peer, entry.verdict) == (targets.BEST, "not measured")


def test_the_goals_of_the_repository_name_cases_that_exist() -> None:
    from harness.cases import CASES
    from loops import C_TASKS, LIMIT, NAMES

    names = {case.name for case in CASES}
    loaded = targets.load()
    assert loaded
    assert all(target.case in names and target.peer in (*NAMES, C_TASKS, LIMIT, targets.BEST) for target in loaded)


def test_a_goal_has_one_bound() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Target("goal", "call_soon", "ns", "uvloop", at_most=1.0, at_least=1.0)
