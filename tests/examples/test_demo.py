"""The demo: what it measures of the loop itself, how it compares that, and its picture."""

import json
import sys
from pathlib import Path

import pytest
from test_examples import EXAMPLES, make_certificate, run


@pytest.fixture(autouse=True)
def _modules_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "demo")
    for name in ("figures", "picture"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_loops_own_work_is_measured_at_three_sizes_on_ferrio(tmp_path: Path) -> None:
    certificate, key, both = (tmp_path / name for name in ("certificate.pem", "key.pem", "both.pem"))
    make_certificate(certificate, key)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    seen = json.loads(run("demo/loop_work.py", both))
    assert seen["loop"] == "ferrio._event_loop.Loop"
    assert seen["costs"].keys() >= {"streams", "tls", "tasks", "timers"}
    for costs in seen["costs"].values():
        assert len(costs) == 3
        assert min(costs.values()) > 0


def test_what_is_compared_is_the_median_of_rounds_beside_the_spread_within_them() -> None:
    import figures

    ours = [{"tasks": {"100": cost}} for cost in (1.0, 2.0, 6.0)]
    theirs = [{"tasks": {"100": cost}} for cost in (4.0, 4.0, 3.0)]
    (row,) = figures.of_the_loop(ours, theirs)
    assert (row.label, row.unit, row.costs) == ("Spawn a task and await it, 100 at once", "us", ("2.00", "4.00"))
    assert (row.ratio, row.ratios) == (0.5, [0.25, 0.5, 2.0])
    line = figures.comparison_table([row], "one", "other").splitlines()[1]
    assert line.split("  ")[-1].strip() == "0.25 - 2.00"


@pytest.mark.parametrize(("number", "text"), [(0.12345, "0.123"), (9.999, "10.0"), (12.34, "12.3"), (1234.5, "1,230")])
def test_figures_have_three_digits(number: float, text: str) -> None:
    import figures

    assert figures.readable(number) == text


def test_a_kind_of_work_that_one_side_has_left_out_is_not_compared() -> None:
    import figures

    whole = {"memory": {"300": 4096.0}, "streams": {"1024": 10.0}}
    rows = figures.of_the_loop([whole], [{"streams": {"1024": 20.0}}])
    assert [row.label for row in rows] == ["A message there and back, streams, 1 KiB"]
    assert figures.of_the_loop([whole], [whole])[0].costs == ("4.00", "4.00")


def test_a_page_of_the_service_costs_its_cpu_time_by_the_number_of_pages() -> None:
    import figures

    ours, theirs = (figures.Round(1.0, server, 1.0, 1.0, 1.0) for server in (0.3, 0.4))
    service, crawler = figures.of_the_service([ours], [theirs], pages=1_000)
    assert (service.costs, crawler.costs) == (("300", "400"), ("1,000", "1,000"))
    assert service.ratio == pytest.approx(0.75)


def test_the_picture_shows_losses_as_well(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the demo's picture needs it")
    import figures
    import picture

    row = figures.Comparison("A page", "", "us", [300.0, 310.0], [100.0, 110.0])
    picture.plot([[row], [row, row]], "ferrio", "asyncio", ["A note."], tmp_path / "new" / "demo.png")
    assert (tmp_path / "new" / "demo.png").read_bytes().startswith(b"\x89PNG")
