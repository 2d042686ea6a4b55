"""Medians, spreads and ratios over the rounds.

A ratio is taken inside each round, between two samples that were measured one straight after the other, and
the median of those is reported: a machine that changes its pace between rounds moves both sides alike.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import loops

#: Per case and loop: the metrics' values by round.
Table = dict[str, dict[str, dict[str, dict[int, float]]]]


def tabulate(samples: Iterable[Mapping[str, Any]]) -> Table:
    table: Table = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for sample in samples:
        for metric, value in sample["metrics"].items():
            table[sample["case"]][sample["loop"]][metric][sample["round"]] = value
    return table


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest of *values*, which are not empty."""
    listed = list(values)
    return {"median": statistics.median(listed), "min": min(listed), "max": max(listed)}


def ratio(mine: Mapping[int, float], other: Mapping[int, float]) -> dict[str, float] | None:
    """Spread of mine / other over the rounds that have both; None when there is none."""
    shared = [mine[number] / other[number] for number in mine if other.get(number)]
    return spread(shared) if shared else None


def summarise(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``{case: {loop: {metric: {"median", "min", "max", "ratio"}}}}``; the ratio is to uvloop, or None."""
    summary: dict[str, Any] = {}
    for case, by_loop in tabulate(samples).items():
        baseline = by_loop.get(loops.BASELINE, {})
        summary[case] = {
            loop: {
                metric: {**spread(values.values()), "ratio": ratio(values, baseline.get(metric, {}))}
                for metric, values in metrics.items()
            }
            for loop, metrics in by_loop.items()
        }
    return summary
