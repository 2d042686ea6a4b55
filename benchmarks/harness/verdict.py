"""Whether a set of results may be quoted, and what in it looks wrong."""

import statistics
from collections.abc import Mapping
from typing import Any

import loops

from .cases import CASES, EchoCase

#: With fewer rounds a median is one sample.
LEAST_ROUNDS = 3
#: More of the two cores than this went to other processes.
MOST_OTHER_WORK = 0.03
#: A load generator that used more of its core than this may have been what limited the server.
MOST_CLIENT_BUSY = 0.97


def against_quoting(results: Mapping[str, Any]) -> list[str]:
    """Sentences that say why these figures must not be quoted; empty when they may be."""
    reasons = []
    python = results["python"]
    if not python["optimised"]:
        reasons.append(f"Python {python['version']} is not known to be an optimised build. {python['evidence']}")
    if results["quick"]:
        reasons.append("The run was a quick one, made to see that everything works.")
    elif results["rounds"] < LEAST_ROUNDS:
        reasons.append(f"There were {results['rounds']} rounds; at least {LEAST_ROUNDS} are needed.")
    if results["interrupted"]:
        reasons.append("The run was interrupted.")
    settings = results["settings"]
    if settings["server_core"] == settings["client_core"]:
        reasons.append("Server and load generator shared a core.")
    others = [sample["metrics"]["others_busy"] for sample in results["samples"]]
    if others and statistics.mean(others) > MOST_OTHER_WORK:
        reasons.append(f"Other processes used {statistics.mean(others):.0%} of the two cores.")
    return reasons


def notes(results: Mapping[str, Any]) -> list[str]:
    """Sentences about single figures: failures, and loops that the load generator could not keep busy."""
    found = [f"{f['loop']} failed {f['case']}: {f['error']}" for f in results["failures"]]
    cases = {case.name: case for case in CASES}
    for name, by_loop in results["summary"].items():
        case = cases.get(name)
        if not isinstance(case, EchoCase) or not case.saturates:
            continue
        for loop, metrics in by_loop.items():
            server, client = metrics["server_busy"]["median"], metrics["client_busy"]["median"]
            if client > max(server, MOST_CLIENT_BUSY) and loop != loops.LIMIT:
                found.append(f"{name}: the load generator was the limit of {loop}.")
    return found
