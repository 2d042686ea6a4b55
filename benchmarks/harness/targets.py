"""The goals of ``targets.toml``, judged by a set of results."""

import statistics
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loops

from . import summary
from .programs import BENCHMARKS

CANDIDATE = "ferrio"
#: The loops that are not Ferrio's.
PEERS = (*(name for name in loops.NAMES if name not in (CANDIDATE, loops.NAMESPACE)), loops.AIOFASTNET)
#: As a target's peer: whichever of the other loops has the best median.
BEST = "best"


@dataclass(frozen=True)
class Target:
    """A bound on a candidate's figure divided by a peer's."""

    goal: str
    case: str
    metric: str
    peer: str
    at_most: float | None = None
    at_least: float | None = None
    #: Whose figure it is.
    candidate: str = CANDIDATE

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.goal}: exactly one of at_most and at_least")

    @property
    def bound(self) -> str:
        return f"<= {self.at_most:.2f} x" if self.at_most is not None else f">= {self.at_least:.2f} x"

    def met_by(self, ratio: float) -> bool:
        if self.at_most is not None:
            return ratio <= self.at_most
        assert self.at_least is not None
        return ratio >= self.at_least


@dataclass(frozen=True)
class Judged:
    target: Target
    #: Spread of the ratio; None when a side was not measured.
    ratio: dict[str, float] | None
    #: The loop that it was judged against.
    peer: str

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        return "pass" if self.target.met_by(self.ratio["median"]) else "miss"


def load(path: Path = BENCHMARKS / "targets.toml") -> list[Target]:
    with path.open("rb") as file:
        return [Target(**entry) for entry in tomllib.load(file)["target"]]


def judge(targets: Iterable[Target], samples: Iterable[Mapping[str, Any]]) -> list[Judged]:
    table = summary.tabulate(samples)
    judged = []
    for target in targets:
        by_loop = table.get(target.case, {})
        mine = by_loop.get(target.candidate, {}).get(target.metric, {})
        peer = best_peer(target, by_loop) if target.peer == BEST else target.peer
        other = by_loop.get(peer, {}).get(target.metric, {})
        judged.append(Judged(target, summary.ratio(mine, other), peer))
    return judged


def best_peer(target: Target, by_loop: Mapping[str, Mapping[str, Mapping[int, float]]]) -> str:
    """The loop other than Ferrio with the best median; ``best`` when none was measured."""
    medians = {
        loop: statistics.median(by_loop[loop][target.metric].values())
        for loop in PEERS
        if by_loop.get(loop, {}).get(target.metric)
    }
    better = min if target.at_most is not None else max
    return better(medians, key=medians.__getitem__) if medians else BEST
