"""The page, the pictures, and what must not be quoted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import verdict
from harness.programs import BENCHMARKS, Programs
from report import rows, writer
from results import echo_sample, make_results, micro_sample


@pytest.fixture
def results() -> dict[str, Any]:
    samples = [echo_sample("c", n, 6.7) for n in range(3)]
    samples += [echo_sample("uvloop", n, 10.0) for n in range(3)]
    samples += [echo_sample("ferrio", n, 8.0 + n / 10) for n in range(3)]
    samples += [
        micro_sample("spawn", loop, n, ns) for n in range(3) for loop, ns in [("uvloop", 1500), ("ferrio", 500)]
    ]
    return make_results(samples)


def test_the_page_holds_the_figures(results: dict[str, Any], tmp_path: Path) -> None:
    (page, *plots), problem = writer.write(results, tmp_path)
    text = page.read_text()
    assert "| **ferrio** | **8.10 (8.00 - 8.20)** | **0.81 x** |" in text
    assert "| C, raw epoll | 6.70 (6.70 - 6.70) | 0.67 x |" in text
    assert "| `spawn` | 1,500 (1.00 x) | **500 (0.33 x)** |" in text
    assert "Not for quoting" not in text
    assert problem or len(plots) == 5
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_the_chart_of_all_rows_begins_with_those_where_ferrio_is_farthest_ahead() -> None:
    times = {"spawn": {"asyncio": 900, "uvloop": 1000, "ferrio": 450}, "call_soon": {"uvloop": 100, "ferrio": 25}}
    times["gather_100"] = {"uvloop": 100, "ferrio": 150, "ferrio.asyncio": 50}
    times["timeout"] = {"ferrio": 1}
    samples = [
        micro_sample(case, loop, number, ns)
        for case, by_loop in times.items()
        for loop, ns in by_loop.items()
        for number in range(3)
    ]
    assert rows.lines(make_results(samples)["summary"]) == [
        ("call_soon", {"uvloop": 1, "ferrio": 0.25}),
        ("spawn", {"asyncio": 1, "uvloop": 1000 / 900, "ferrio": 0.5}),
        ("gather_100", {"uvloop": 1, "ferrio": 1.5, "ferrio.asyncio": 0.5}),
    ]


def test_good_results_are_published_and_nothing_else_is_touched(results: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the report's plots need it")
    (tmp_path / "other.txt").write_text("mine")
    writer.publish(results, tmp_path)
    assert writer.load(tmp_path) == results
    assert (tmp_path / "other.txt").read_text() == "mine"
    assert (tmp_path / "cpu_per_message.png").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"python": {"version": "3.14.0", "optimised": False, "evidence": "Plain."}},
            "not known to be an optimised",
        ),
        ({"quick": True}, "quick"),
        ({"rounds": 2}, "2 rounds"),
        ({"interrupted": True}, "interrupted"),
        ({"samples": [echo_sample("ferrio", 0, 8.0, others_busy=0.4)]}, "40% of the two cores"),
    ],
)
def test_what_must_not_be_quoted_is_not_published(
    changes: dict[str, Any], reason: str, results: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(writer.NotForQuoting, match=reason):
        writer.publish({**results, **changes}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_load_generator_at_its_limit_is_noted(results: dict[str, Any]) -> None:
    slow = make_results([echo_sample("ferrio", 0, 5.0, server_busy=0.8, client_busy=0.99)])
    assert verdict.notes(slow) == ["echo-protocol: the load generator was the limit of ferrio."]
    assert verdict.notes(results) == []


def test_a_run_from_end_to_end(built: Programs, tmp_path: Path) -> None:
    only = "echo-protocol,echo-readline,spawn"
    command = [
        sys.executable,
        str(BENCHMARKS),
        "--quick",
        "--only",
        only,
        "--loops",
        "asyncio",
        "--output",
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "DO NOT QUOTE" in run.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["failures"] == []
    assert set(results["summary"]["echo-protocol"]) == {"asyncio", "c"}
    assert results["summary"]["spawn"]["asyncio"]["ns"]["median"] > 0
    check = subprocess.run(
        [sys.executable, str(BENCHMARKS), "--check", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 1
    assert "not measured" in check.stdout
