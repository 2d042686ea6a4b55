"""Bar charts: one picture for a metric, one panel for a case, one bar for a loop. `rows.py` has all cases in one chart.

A whisker spans the rounds' smallest and largest value, the label is the median.
"""

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

import loops
from harness.cases import AppCase, Case, EchoCase
from harness.targets import CANDIDATE

from . import rows
from .tables import in_order, measured_cases, name_of, number

HIGHLIGHT = "#d9480f"
PEER = "#a6adb8"
LIMIT = "#5c6470"


class Picture(NamedTuple):
    file: str
    title: str
    kind: type[EchoCase] | UnionType
    metric: str
    unit: str
    better: str


PICTURES = (
    Picture("cpu_per_message.png", "Server CPU time per message", EchoCase, "cpu_us", "us", "less is better"),
    Picture("throughput.png", "Throughput", EchoCase, "messages_per_s", "messages / s", "more is better"),
    Picture("latency_p50.png", "Median latency", EchoCase, "p50_us", "us", "less is better"),
    Picture("latency_p99.png", "Latency, 99th percentile", EchoCase, "p99_us", "us", "less is better"),
    Picture("applications.png", "CPU time per request", AppCase, "cpu_us", "us", "less is better"),
)


def draw_all(results: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Write the pictures for which there are figures; return their file names and titles."""
    import matplotlib as mpl  # the one dependency, and only the report has it

    mpl.use("Agg")
    drawn = []
    for picture in PICTURES:
        cases = [
            case
            for case in measured_cases(results["summary"])
            if isinstance(case, picture.kind)
            and any(picture.metric in figures for figures in results["summary"][case.name].values())
        ]
        if cases:
            draw(picture, cases, results, folder / picture.file)
            drawn.append((picture.file, picture.title))
    found = rows.lines(results["summary"])
    if found:
        rows.draw(found, results, folder / rows.FILE)
        drawn.append((rows.FILE, rows.TITLE))
    return drawn


def draw(picture: Picture, cases: list[Case], results: Mapping[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    columns = min(2, len(cases))
    rows = -(-len(cases) // columns)
    most_bars = max(len(results["summary"][case.name]) for case in cases)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(6.2 * columns, (0.9 + 0.34 * most_bars) * rows + 0.9),
        squeeze=False,
        layout="constrained",
    )
    panels = list(grid.flat)
    for panel, case in zip(panels, cases, strict=False):
        draw_panel(panel, case, results["summary"][case.name], picture)
    for panel in panels[len(cases) :]:
        panel.set_visible(False)
    python, machine = results["python"], results["machine"]
    figure.suptitle(f"{picture.title} ({picture.unit}; {picture.better})", fontsize=14, fontweight="bold")
    figure.supxlabel(
        f"CPython {python['version']}, {machine['cpu']}, {machine['kernel']}, {results['date'][:10]}; "
        f"rounds: {results['rounds']}, bars are medians, whiskers span smallest to largest",
        fontsize=8,
        color=LIMIT,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_panel(panel: Any, case: Case, by_loop: Mapping[str, Any], picture: Picture) -> None:
    shown = [loop for loop in in_order(by_loop) if picture.metric in by_loop[loop]]
    figures = [by_loop[loop][picture.metric] for loop in shown]
    medians = [figure["median"] for figure in figures]
    below = [figure["median"] - figure["min"] for figure in figures]
    above = [figure["max"] - figure["median"] for figure in figures]
    colours = [HIGHLIGHT if loop == CANDIDATE else LIMIT if loop == loops.LIMIT else PEER for loop in shown]
    panel.barh(range(len(shown)), medians, color=colours, height=0.7)
    panel.errorbar(
        medians,
        range(len(shown)),
        xerr=[below, above],
        fmt="none",
        ecolor="#212529",
        elinewidth=1,
        capsize=2.5,
    )
    panel.set_yticks(range(len(shown)), [name_of(loop) for loop in shown])
    for tick, loop in zip(panel.get_yticklabels(), shown, strict=True):
        if loop == CANDIDATE:
            tick.set(color=HIGHLIGHT, fontweight="bold")
    panel.invert_yaxis()
    farthest = max(figure["max"] for figure in figures)
    for position, figure in enumerate(figures):
        panel.text(figure["max"] + 0.015 * farthest, position, number(figure["median"]), va="center", fontsize=9)
    panel.set_xlim(0, farthest * 1.16)
    panel.set_xlabel(picture.unit, fontsize=9)
    panel.set_title(case.title, fontsize=10, loc="left")
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    panel.tick_params(labelsize=9)
