"""Compares Ferrio with asyncio and with the other loops that are installed, each in an interpreter of its own.

CPU time, not wall time: what else the machine does changes little of it. Rounds are interleaved, and of each figure the
median counts.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

CONTEST = Path(__file__).with_name("contest.py")

#: Modules with `new_event_loop()`.
LOOPS = ("uvloop", "rsloop", "zuvloop", "ferrio")
ROUNDS = 3
#: For all loops and operations together.
SECONDS = 12.0
LIMIT_S = 60.0

#: The CPU time of an operation in nanoseconds, by operation and by loop.
Figures = dict[str, dict[str, float]]


def compare(rounds: int = ROUNDS, seconds: float = SECONDS) -> Figures:
    """Measure; a loop that fails is left out."""
    names = ["asyncio", *(name for name in LOOPS if importlib.util.find_spec(name) is not None)]
    # Five operations, each of which runs at least twice.
    share = seconds / (rounds * len(names) * 5 * 2)
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name in list(names):
            found = contest(name, share)
            if found is None:
                names.remove(name)
                continue
            for operation, nanoseconds in found.items():
                samples.setdefault(operation, {}).setdefault(name, []).append(nanoseconds)
    return {
        operation: {name: statistics.median(taken) for name, taken in by_loop.items() if name in names}
        for operation, by_loop in samples.items()
    }


def contest(name: str, seconds: float) -> dict[str, float] | None:
    """The figures of the loop *name*; None if its program fails."""
    command = [sys.executable, str(CONTEST), name, str(seconds)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        found: dict[str, float] = json.loads(ran.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found
