"""Measure Ferrio against its peers.

    python benchmarks                     the whole suite, then report, plots and targets in build/bench
    python benchmarks --quick             everything once and short: does it all work?
    python benchmarks --brief             what counts, three short rounds in three minutes, and a verdict
    python benchmarks --only net,call_*   some cases
    python benchmarks --check             judge the last run by targets.toml; status 1 when a target is missed
    python benchmarks --publish DIR       write the last run's report into DIR, if it may be quoted

What is measured and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import loops
from harness import cases, machine, peers, programs, rounds, sample, summary, targets, verdict
from harness.progress import Progress, span
from harness.services import Services
from report import standings, tables, writer

DEFAULT = sample.Settings()


def main() -> int:
    # SIGTERM too must end the servers, which is what leaving the program in order does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    if options.list:
        print("\n".join(f"{case.name:24} {case.title}" for case in cases.CASES))
        return 0
    if options.check or options.report or options.publish:
        return on_saved_results(options)
    try:
        results = measure(options)
    except (programs.BuildFailed, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    writer.save(results, options.output)
    show(results, options.output)
    return 1 if any(failure["loop"] == targets.CANDIDATE for failure in results["failures"]) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=positive, default=3, help="times every case runs on every loop (3)")
    parser.add_argument("--seconds", type=float, default=DEFAULT.seconds, help="length of a network sample (1)")
    parser.add_argument("--only", metavar="NAMES", help="cases: names, patterns, groups (net, large, apps, ...)")
    parser.add_argument("--loops", metavar="NAMES", default=",".join(loops.NAMES), help="loops, with commas (all)")
    parser.add_argument("--quick", action="store_true", help="one short round; not for quoting")
    parser.add_argument("--brief", action="store_true", help="three short rounds of what counts; not for quoting")
    parser.add_argument("--server-core", type=int, default=DEFAULT.server_core, metavar="N")
    parser.add_argument("--client-core", type=int, default=DEFAULT.client_core, metavar="N")
    parser.add_argument("--output", type=Path, default=programs.OUTPUT, metavar="DIR", help="results (build/bench)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    saved = parser.add_mutually_exclusive_group()
    saved.add_argument("--check", action="store_true", help="judge the last run's results; measure nothing")
    saved.add_argument("--report", action="store_true", help="write the last run's report again; measure nothing")
    saved.add_argument("--publish", type=Path, metavar="DIR", help="write the last run's report there")
    return parser.parse_args()


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Check the options and measure."""
    chosen = cases.pick(options.only or (",".join(cases.BRIEF) if options.brief else None))
    wanted = [name.strip() for name in options.loops.split(",")]
    unknown = [name for name in wanted if name not in loops.NAMES]
    if unknown:
        raise ValueError(f"no loop is called {', '.join(unknown)}; there are {', '.join(loops.NAMES)}")
    settings = replace(
        DEFAULT, seconds=options.seconds, server_core=options.server_core, client_core=options.client_core
    )
    if options.quick:
        # Of cases that take long, those that were asked for by name alone.
        chosen = [case for case in chosen if not (isinstance(case, cases.MicroCase) and case.is_long)] or chosen
        settings = replace(settings, seconds=0.3, warmup_s=0.1, micro_seconds=0.01, micro_repeats=2)
    elif options.brief:
        settings = replace(settings, seconds=0.3, warmup_s=0.1, micro_seconds=0.03, micro_repeats=3)
    missing = {settings.server_core, settings.client_core} - os.sched_getaffinity(0)
    if missing:
        raise ValueError(f"core {min(missing)} is not there; choose with --server-core and --client-core")

    with Services() as services:
        return measure_with(services, options, chosen, wanted, settings)


def measure_with(
    services: Services,
    options: argparse.Namespace,
    chosen: list[cases.Case],
    wanted: list[str],
    settings: sample.Settings,
) -> dict[str, Any]:
    """Build, probe, measure, sum up."""
    built = programs.build_all(services, options.output)
    there, left_out = peers.usable(wanted)
    for sentence in left_out.values():
        print(sentence, file=sys.stderr)
    if not there:
        raise ValueError("No loop is left to measure.")

    facts = machine.facts(there)
    steps = rounds.plan(chosen, there, 1 if options.quick else options.rounds)
    planned = rounds.planned_seconds(steps, settings)
    print(f"{len(steps)} samples, about {span(sum(planned))}.", file=sys.stderr)
    outcome = rounds.run(
        steps,
        settings,
        lambda case, loop, settings: sample.take(case, loop, settings, built),
        Progress(planned),
    )
    return {
        **facts,
        "rounds": 1 if options.quick else options.rounds,
        "quick": options.quick or options.brief,
        "interrupted": outcome.interrupted,
        "settings": rounds.settings_as_data(settings),
        "loops": there,
        "left_out": left_out,
        "summary": summary.summarise(outcome.samples),
        "failures": outcome.failures,
        "samples": outcome.samples,
    }


def show(results: Mapping[str, Any], folder: Path) -> None:
    """Write the report; print where it is, the targets, and loudly whether the figures may be quoted."""
    written, problem = writer.write(results, folder)
    print("\nWritten: " + ", ".join(str(path) for path in [folder / writer.RESULTS, *written]))
    if problem:
        print(problem)
    for note in verdict.notes(results):
        print(note)
    rows = standings.standings(results["samples"])
    print_standings(rows)
    judged = targets.judge(targets.load(), results["samples"])
    # A quick run leaves most of them out.
    print_targets([entry for entry in judged if entry.ratio is not None] if results["quick"] else judged)
    print(standings.verdict(rows))
    shout(results)


def print_standings(rows: list[standings.Standing]) -> None:
    """Who is first, and where Ferrio is behind."""
    print("\n" + tables.plain(tables.STANDING_HEAD, tables.standing_rows(rows)))
    late = standings.behind(rows)
    if late:
        names = ", ".join(row.case.name for row in late)
        print(f"\nferrio is behind another loop in {len(late)} of {len(rows)}, farthest first: {names}.")


def print_targets(judged: list[targets.Judged]) -> None:
    print("\n" + tables.plain(tables.TARGET_HEAD, tables.target_rows(judged)) + "\n")


def shout(results: Mapping[str, Any]) -> None:
    reasons = verdict.against_quoting(results)
    if reasons:
        print(f"!!! DO NOT QUOTE THESE FIGURES !!! {' '.join(reasons)}")


def on_saved_results(options: argparse.Namespace) -> int:
    try:
        results = writer.load(options.output)
    except FileNotFoundError:
        print(f"There are no results in {options.output}; run the benchmarks first.", file=sys.stderr)
        return 1
    if options.report:
        show(results, options.output)
        return 0
    if options.publish:
        try:
            written = writer.publish(results, options.publish)
        except writer.NotForQuoting as problem:
            print(f"Not published. {problem}", file=sys.stderr)
            return 1
        print("Published: " + ", ".join(map(str, written)))
        return 0
    judged = targets.judge(targets.load(), results["samples"])
    print_targets(judged)
    shout(results)
    return 0 if all(entry.verdict == "pass" for entry in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
