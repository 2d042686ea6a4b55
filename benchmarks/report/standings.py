"""Who is first in each row of the benchmarks, and how far the next is.

The loops are ranked by the median of a case's first figure: CPU time a message or request, time or memory an operation,
memory a connection. A loop and its namespace are one maker's, so the next of Ferrio is another loop. Distances are
medians of the rounds' own ratios. The C server and the variant with CPython's tasks take no part.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import loops
from harness import summary
from harness.cases import CASES, Case, IdleCase, MicroCase
from harness.targets import CANDIDATE

#: Of one maker: its loop, and the same with its namespace.
OURS = (CANDIDATE, loops.NAMESPACE)


@dataclass(frozen=True)
class Standing:
    """One row. Ratios are at least 1 for whoever is behind, by their medians."""

    case: Case
    metric: str
    first: str
    figure: float
    #: The best loop of another maker than the first; None when nobody else was measured.
    next: str | None
    next_ratio: dict[str, float] | None
    #: Ferrio's loop under stock asyncio code, to the best loop of another maker.
    ours_to_best: dict[str, float] | None


def metric_of(case: Case) -> str:
    """The figure that decides."""
    if isinstance(case, MicroCase):
        return case.unit
    return "rss_bytes" if isinstance(case, IdleCase) else "cpu_us"


def standings(samples: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """In the order of the cases; those that no loop was measured in are left out."""
    table = summary.tabulate(samples)
    found = (standing(case, table.get(case.name, {})) for case in CASES)
    return [row for row in found if row is not None]


def standing(case: Case, by_loop: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Standing | None:
    metric = metric_of(case)
    contestants = (*loops.NAMES, loops.AIOFASTNET)
    rounds = {loop: by_loop[loop][metric] for loop in contestants if by_loop.get(loop, {}).get(metric)}
    if not rounds:
        return None
    ranked = sorted(rounds, key=lambda loop: statistics.median(rounds[loop].values()))
    first = ranked[0]
    others = [loop for loop in ranked if loop != first and not (loop in OURS and first in OURS)]
    peers = [loop for loop in ranked if loop not in OURS]
    ours = summary.ratio(rounds[CANDIDATE], rounds[peers[0]]) if peers and CANDIDATE in rounds else None
    return Standing(
        case,
        metric,
        first,
        statistics.median(rounds[first].values()),
        others[0] if others else None,
        summary.ratio(rounds[others[0]], rounds[first]) if others else None,
        ours,
    )


def behind(rows: Iterable[Standing]) -> list[Standing]:
    """The rows in which Ferrio's loop is behind another, farthest first."""
    late = [row for row in rows if row.ours_to_best and row.ours_to_best["median"] > 1.0]
    return sorted(late, key=lambda row: row.ours_to_best["median"] if row.ours_to_best else 0.0, reverse=True)


def verdict(rows: Iterable[Standing]) -> str:
    """One sentence: how Ferrio's loop stands to the best other loop of each row, by medians."""
    ratios = [row.ours_to_best["median"] for row in rows if row.ours_to_best]
    if not ratios:
        return "Verdict: Ferrio was not measured beside another loop."
    ahead = sum(ratio < 1.0 for ratio in ratios)
    mean = statistics.geometric_mean(ratios)
    return (
        f"Verdict: Ferrio's loop costs less than every other in {ahead} of {len(ratios)} rows; "
        f"over all of them it costs {mean:.2f} times what the best other loop of each does (geometric mean)."
    )
