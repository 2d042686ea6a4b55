"""``python -m ferrio doctor``: what Ferrio finds here, whether it works, what would hurt, how fast it is.

The parts give findings and figures; only ``report`` and ``main`` print. Nothing outside the process is changed.
"""

from __future__ import annotations

import argparse
import json

from . import comparison, facts, neighbours, report, self_test
from .finding import Finding, State

__all__ = ["main"]

DESCRIPTION = """\
Looks at the interpreter, the kernel, the parts of Ferrio and the limits of this process; says which loop the libraries
of this environment take; tries the loop, and compares it with the other loops that are installed (half a minute)."""

EPILOG = """\
exit status: 0 if Ferrio works here, with advice or without; 1 if a trial failed; 2 for a wrong option."""


def main(arguments: list[str]) -> int:
    """Run the command line *arguments* (those after ``doctor``); the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferrio doctor", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--no-trials", action="store_true", help="do not try the loop")
    parser.add_argument("--no-comparison", action="store_true", help="do not compare it with other loops")
    options = parser.parse_args(arguments)

    sections: dict[str, list[Finding]] = {
        "Interpreter": facts.interpreter(),
        "Kernel": facts.kernel(),
        "Native here": facts.native(),
        "Limits": facts.limits(),
        "Libraries of this environment": neighbours.findings(),
    }
    if not options.json:
        report.print_sections(sections)
    if not options.no_trials:
        trials = self_test.findings()
        sections["Trials on a Ferrio loop"] = trials
        if not options.json:
            report.print_sections({"Trials on a Ferrio loop": trials})
    figures = None if options.no_comparison else comparison.compare()
    failed = any(finding.state is State.FAULT for findings in sections.values() for finding in findings)
    verdict = report.verdict(sections)
    if options.json:
        print(json.dumps(report.document(sections, figures, verdict, works=not failed), indent=2))
    else:
        if figures:
            report.print_comparison(figures)
        print(f"\n{verdict}")
    return 1 if failed else 0
