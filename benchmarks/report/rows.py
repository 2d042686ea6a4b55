"""One chart of all rows: a line for a case, a mark for a loop, sorted by how Ferrio's loop stands to the best other.

What is drawn is the case's first figure (CPU time, time or memory) in multiples of the best other loop's, so rows of
different units stand beside each other. Marks are medians over the rounds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import loops
from harness.cases import MicroCase
from harness.targets import CANDIDATE

from .standings import OURS, metric_of
from .tables import measured_cases

FILE = "rows.png"
TITLE = "Cost in every row, in multiples of the best other loop's"

#: Colour and shape of a loop's mark; Ferrio's are drawn last, over the others.
MARKS = {
    "asyncio": ("#adb5bd", "s"),
    "uvloop": ("#868e96", "o"),
    "rsloop": ("#868e96", "^"),
    "zuvloop": ("#495057", "D"),
    loops.NAMESPACE: ("#1971c2", "o"),
    CANDIDATE: ("#d9480f", "o"),
}
INCHES_FOR_A_LINE = 0.21


class Line(NamedTuple):
    label: str
    #: The figures of each loop over the best of the other makers.
    ratios: dict[str, float]


def lines(summary: Mapping[str, Any]) -> list[Line]:
    """The rows in which Ferrio's loop and another were measured; those where Ferrio costs least come first."""
    found = []
    for case in measured_cases(summary):
        metric, by_loop = metric_of(case), summary[case.name]
        medians = {loop: by_loop[loop][metric]["median"] for loop in loops.NAMES if metric in by_loop.get(loop, {})}
        others = [median for loop, median in medians.items() if loop not in OURS]
        if CANDIDATE in medians and others and min(others) > 0:
            label = case.name if isinstance(case, MicroCase) else case.title
            found.append(Line(label, {loop: median / min(others) for loop, median in medians.items()}))
    return sorted(found, key=lambda line: line.ratios[CANDIDATE])


def draw(found: list[Line], results: Mapping[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    height = INCHES_FOR_A_LINE * len(found) + 1.6
    figure, panel = plt.subplots(figsize=(8.5, height), layout="constrained")
    for loop, (colour, shape) in MARKS.items():
        points = [(line.ratios[loop], place) for place, line in enumerate(found) if loop in line.ratios]
        if points:
            size = 34 if loop in OURS else 18
            panel.scatter(*zip(*points, strict=True), s=size, c=colour, marker=shape, label=loop, zorder=3)
    panel.axvline(1, color="#212529", linewidth=0.8)
    panel.hlines(range(len(found)), *panel.get_xlim(), color="#e9ecef", linewidth=0.6, zorder=0)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_yticks(range(len(found)), [line.label for line in found], fontsize=8)
    panel.set_ylim(len(found) - 0.4, -0.6)
    panel.tick_params(axis="x", labelsize=8, labeltop=True, top=True)
    panel.tick_params(axis="y", length=0)
    panel.spines[["left", "right"]].set_visible(False)
    beside = panel.secondary_yaxis("right")
    beside.set_yticks(range(len(found)), [f"{line.ratios[CANDIDATE]:.2f}" for line in found], fontsize=8)
    beside.tick_params(length=0, labelcolor=MARKS[CANDIDATE][0])
    beside.spines["right"].set_visible(False)
    figure.suptitle(f"{TITLE}\n(less is better; at the right: {CANDIDATE})", fontsize=11, fontweight="bold")
    figure.legend(loc="outside lower center", ncols=len(MARKS), fontsize=8, frameon=False)
    python, machine = results["python"], results["machine"]
    panel.set_xlabel(f"CPython {python['version']}, {machine['cpu']}, {results['date'][:10]}", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
