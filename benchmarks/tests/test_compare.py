"""What compare.py calls a change, and what it calls noise or the machine's pace."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import compare
from report import standings
from results import make_results, micro_sample

SCRIPT = Path(compare.__file__)


def run(ferrio: list[float], uvloop: list[float]) -> dict[str, Any]:
    return make_results(
        [micro_sample("call_soon", "ferrio", number, ns) for number, ns in enumerate(ferrio)]
        + [micro_sample("call_soon", "uvloop", number, ns) for number, ns in enumerate(uvloop)]
    )


def the_change(before: dict[str, Any], after: dict[str, Any]) -> compare.Change:
    (change,) = compare.changes(before, after, "ferrio")
    return change


def test_a_loss_in_every_round_is_worse() -> None:
    change = the_change(run([100, 101, 102], [200, 200, 200]), run([120, 121, 122], [200, 200, 200]))
    assert (change.verdict, change.factor) == ("worse", pytest.approx(121 / 101))


def test_a_gain_in_every_round_is_better() -> None:
    assert the_change(run([100, 101, 102], [200] * 3), run([80, 81, 82], [200] * 3)).verdict == "better"


def test_rounds_that_overlap_are_noise() -> None:
    assert the_change(run([100, 110, 130], [200] * 3), run([115, 125, 135], [200] * 3)).verdict == "within the noise"


def test_a_change_below_two_per_cent_is_none() -> None:
    assert the_change(run([100.0] * 3, [200] * 3), run([101.0] * 3, [200] * 3)).verdict == "within the noise"


def test_a_slower_machine_is_no_change() -> None:
    change = the_change(run([100] * 3, [200] * 3), run([150] * 3, [300] * 3))
    assert (change.verdict, change.drift, change.factor) == ("within the noise", 1.5, 1.0)


def test_without_another_loop_nothing_is_taken_out() -> None:
    assert the_change(run([100] * 3, []), run([150] * 3, [])).drift == 1.0


def test_the_namespace_is_no_measure_of_the_machine() -> None:
    def both(ns: float) -> dict[str, Any]:
        return make_results(
            [micro_sample("gather_100", loop, n, ns) for loop in ("ferrio", "ferrio.asyncio") for n in range(3)]
        )

    (change,) = compare.changes(both(100), both(150), "ferrio")
    assert (change.verdict, change.drift) == ("worse", 1.0)


def test_a_case_that_one_run_lacks_is_left_out() -> None:
    assert compare.changes(run([100], [200]), make_results([]), "ferrio") == []


@pytest.mark.parametrize(("ns", "status", "last"), [(150, 1, "1 worse"), (100, 0, "0 worse")])
def test_the_exit_status_says_whether_something_got_worse(tmp_path: Path, ns: float, status: int, last: str) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(run([100] * 3, [200] * 3)))
    after.write_text(json.dumps(run([ns] * 3, [200] * 3)))
    ran = subprocess.run([sys.executable, SCRIPT, before, after], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (status, "")
    assert f"ferrio: {last}" in ran.stdout.splitlines()[-1]


def test_what_is_no_result_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    command = [sys.executable, SCRIPT, tmp_path / "other.json", tmp_path / "other.json"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_the_verdict_is_a_geometric_mean_over_the_rows() -> None:
    samples = [
        micro_sample("call_soon", "ferrio", 0, 50),
        micro_sample("call_soon", "uvloop", 0, 100),
        micro_sample("spawn", "ferrio", 0, 200),
        micro_sample("spawn", "uvloop", 0, 100),
    ]
    assert standings.verdict(standings.standings(samples)) == (
        "Verdict: Ferrio's loop costs less than every other in 1 of 2 rows; over all of them it costs 1.00 times what "
        "the best other loop of each does (geometric mean)."
    )
