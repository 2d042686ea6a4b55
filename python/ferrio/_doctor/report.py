"""The doctor's findings as plain text, and as a document for programs."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from .comparison import Figures
from .finding import Finding, State

WIDTH = 110
MARKS = {State.FINE: "  ", State.ADVICE: "- ", State.FAULT: "! "}


def print_sections(sections: dict[str, list[Finding]]) -> None:
    for title, findings in sections.items():
        print(f"\n{title}")
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            start = f"{MARKS[finding.state]}{finding.what:{width}}  "
            _print(finding.value, start)
            if finding.advice:
                _print(finding.advice, " " * len(start))


def _print(text: str, start: str) -> None:
    lines = textwrap.wrap(text, WIDTH - len(start), break_long_words=False, break_on_hyphens=False)
    for line in lines or [""]:
        print(f"{start}{line}".rstrip(), flush=True)
        start = " " * len(start)


def print_comparison(figures: Figures) -> None:
    """A row for each operation, a column for each loop, and Ferrio's ratio to the best of the others."""
    names = list(next(iter(figures.values())))
    print("\nCPU time of an operation, ns: the less the better")
    width = max(map(len, figures))
    others = [name for name in names if name != "ferrio"]
    has_ratio = "ferrio" in names and others
    print(
        f"  {'':{width}}" + "".join(f"{name:>10}" for name in names) + ("   Ferrio / best other" if has_ratio else "")
    )
    for operation, by_loop in figures.items():
        cells = "".join(f"{by_loop[name]:>10,.0f}" for name in names)
        ratio = f"{by_loop['ferrio'] / min(by_loop[name] for name in others):>23.2f}" if has_ratio else ""
        print(f"  {operation:{width}}{cells}{ratio}")
    if (ratio_to_asyncio := mean_ratio(figures)) is not None:
        print(f"  Over all of them, Ferrio takes {ratio_to_asyncio:.2f} of asyncio's time here (geometric mean).")


def mean_ratio(figures: Figures) -> float | None:
    """Ferrio's time in parts of asyncio's, the geometric mean over the operations; None without figures of both."""
    ratios = [
        by_loop["ferrio"] / by_loop["asyncio"]
        for by_loop in figures.values()
        if {"ferrio", "asyncio"} <= by_loop.keys()
    ]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def verdict(sections: dict[str, list[Finding]]) -> str:
    """One sentence."""
    findings = [finding for found in sections.values() for finding in found]
    faults = [finding.what for finding in findings if finding.state is State.FAULT]
    if faults:
        return f"Ferrio does not work as it should here: {', '.join(faults)} (marked ! above)."
    advice = sum(finding.state is State.ADVICE for finding in findings)
    if advice:
        return f"Ferrio works here; {advice} thing{'s' if advice > 1 else ''} could be better (marked - above)."
    return "Ferrio works here, and there is nothing to improve."


def document(
    sections: dict[str, list[Finding]], figures: Figures | None, verdict: str, *, works: bool
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "works": works,
        "verdict": verdict,
        "sections": {
            title: [
                {"what": finding.what, "value": finding.value, "state": finding.state.value, "advice": finding.advice}
                for finding in findings
            ]
            for title, findings in sections.items()
        },
        "cpu_ns": figures,
    }
