"""Say what moved between two runs of the benchmarks, beyond the noise.

    python benchmarks/compare.py before.json after.json [--loop ferrio] [--all]

Both are `results.json` of a run. A figure is the median over the rounds; its noise is what its smallest and largest
round say. Between two runs a machine changes its pace, which moves every loop: the other loops' median change in the
same case, the *drift*, is taken out of the loop's change. Something has moved when even the closest rounds of the two
runs, drift taken out, differ in the direction of the medians, and the medians by 2 % or more.

Exit status: 0 if nothing got worse, 1 if something did, 2 if the files cannot be compared.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loops
from harness import summary
from harness.cases import CASES
from report.standings import OURS, metric_of

#: Smaller changes are none, however quiet the machine was.
LEAST = 0.02


@dataclass(frozen=True)
class Change:
    """Of one loop in one case. Factors are after / before: above 1 is worse, for every figure costs something."""

    case: str
    metric: str
    before: float
    after: float
    #: Of the medians, drift taken out.
    factor: float
    #: Of the closest and of the farthest rounds.
    least: float
    most: float
    #: The median change of the other loops; 1 where there are none.
    drift: float

    @property
    def verdict(self) -> str:
        if self.least > 1.0 and self.factor > 1.0 + LEAST:
            return "worse"
        if self.most < 1.0 and self.factor < 1.0 - LEAST:
            return "better"
        return "within the noise"


def drift(before: summary.Table, after: summary.Table, case: str, metric: str, loop: str) -> float:
    # One maker's two contestants move together when that maker changes something.
    others = [name for name in loops.NAMES if name not in (OURS if loop in OURS else (loop,))]
    changes = [
        statistics.median(after[case][name][metric].values()) / statistics.median(before[case][name][metric].values())
        for name in (*others, loops.LIMIT)
        if before[case].get(name, {}).get(metric) and after[case].get(name, {}).get(metric)
    ]
    return statistics.median(changes) if changes else 1.0


def changes(before: Mapping[str, Any], after: Mapping[str, Any], loop: str) -> list[Change]:
    """In the order of the cases, for those that both runs measured *loop* in."""
    tables = summary.tabulate(before["samples"]), summary.tabulate(after["samples"])
    found = []
    for case in CASES:
        metric = metric_of(case)
        old, new = (table[case.name][loop][metric] for table in tables)
        if not old or not new:
            continue
        moved = drift(*tables, case.name, metric, loop)
        a, b = summary.spread(old.values()), summary.spread(new.values())
        found.append(
            Change(
                case.name,
                metric,
                a["median"],
                b["median"],
                b["median"] / a["median"] / moved,
                b["min"] / a["max"] / moved,
                b["max"] / a["min"] / moved,
                moved,
            )
        )
    return found


def incomparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Sentences about what makes the runs two different measurements."""
    found = []
    if before["python"]["version"] != after["python"]["version"]:
        found.append(f"The interpreters differ: {before['python']['version']} and {after['python']['version']}.")
    if before["machine"]["cpu"] != after["machine"]["cpu"]:
        found.append(f"The processors differ: {before['machine']['cpu']} and {after['machine']['cpu']}.")
    if before["settings"] != after["settings"]:
        found.append("The samples were not of the same length.")
    return found


def lines(moved: list[Change]) -> list[str]:
    width = max((len(change.case) for change in moved), default=0)
    return [
        f"{change.case:{width}}  {change.before:>12,.2f} -> {change.after:>12,.2f} {change.metric:<9}  "
        f"x {change.factor:.3f} ({change.least:.3f} - {change.most:.3f}; drift {change.drift:.3f})  {change.verdict}"
        for change in moved
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Say what moved between two runs of the benchmarks.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--loop", default="ferrio", choices=loops.NAMES, help="whose figures (ferrio)")
    parser.add_argument("--all", action="store_true", help="list what did not move, too")
    options = parser.parse_args()
    try:
        before, after = (json.loads(path.read_text()) for path in (options.before, options.after))
        found = changes(before, after, options.loop)
        warnings = incomparable(before, after)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"These cannot be compared: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 2
    for sentence in warnings:
        print(f"!!! {sentence}")
    shown = [change for change in found if options.all or change.verdict != "within the noise"]
    for line in lines(sorted(shown, key=lambda change: change.factor, reverse=True)):
        print(line)
    worse = sum(change.verdict == "worse" for change in found)
    better = sum(change.verdict == "better" for change in found)
    still = len(found) - worse - better
    print(f"{options.loop}: {worse} worse, {better} better, {still} of {len(found)} within the noise.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
