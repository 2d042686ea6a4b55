"""Tables in Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any

import loops
from harness import targets, verdict
from harness.cases import CASES, AppCase, Case, EchoCase, IdleCase, MicroCase

from .standings import Standing, standings

NAMES = {
    loops.LIMIT: "C, raw epoll",
    loops.AIOFASTNET: "aiofastnet over uvloop",
    loops.C_TASKS: "ferrio, native_tasks=False",
}


def name_of(loop: str) -> str:
    return NAMES.get(loop, loop)


def in_order(by_loop: Mapping[str, Any]) -> list[str]:
    return [name for name in (loops.LIMIT, *loops.NAMES, loops.AIOFASTNET, loops.C_TASKS) if name in by_loop]


def number(value: float) -> str:
    """Three digits that count, thousands with commas."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_spread(figure: Mapping[str, float]) -> str:
    return f"{number(figure['median'])} ({number(figure['min'])} - {number(figure['max'])})"


def times(figure: Mapping[str, Any]) -> str:
    return f"{figure['ratio']['median']:.2f} x" if figure["ratio"] else "-"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def echo_table(by_loop: Mapping[str, Any]) -> str:
    rows = []
    for loop in in_order(by_loop):
        metrics = by_loop[loop]
        cpu, rate = metrics["cpu_us"], metrics["messages_per_s"]
        cells = [name_of(loop), with_spread(cpu), times(cpu), with_spread(rate), times(rate)]
        cells += [number(metrics[metric]["median"]) for metric in ("p50_us", "p99_us", "p999_us")]
        rows.append([f"**{cell}**" if loop == targets.CANDIDATE else cell for cell in cells])
    head = [
        "",
        "server CPU us / message",
        "to uvloop",
        "messages / s",
        "to uvloop",
        "p50 us",
        "p99 us",
        "p99.9 us",
    ]
    return markdown(head, rows)


def app_table(cases: list[AppCase], summary: Mapping[str, Any]) -> str:
    """CPU per request of the program on the loop, service or client."""
    names = [name for name in (*loops.NAMES, loops.C_TASKS) if any(name in summary[case.name] for case in cases)]
    rows = []
    for case in cases:
        cells = [case.title]
        for name in names:
            figure = summary[case.name].get(name, {}).get("cpu_us")
            cell = "-" if figure is None else f"{number(figure['median'])} ({times(figure)})"
            cells.append(f"**{cell}**" if name == targets.CANDIDATE and figure else cell)
        rows.append(cells)
    return markdown(["CPU us / request (to uvloop)", *map(name_of, names)], rows)


def micro_table(cases: list[MicroCase], summary: Mapping[str, Any], unit: str) -> str:
    names = [name for name in loops.NAMES if any(name in summary[case.name] for case in cases)]
    rows = []
    for case in cases:
        cells = [f"`{case.name}`"]
        for name in names:
            figure = summary[case.name].get(name, {}).get(unit)
            cell = "-" if figure is None else f"{number(figure['median'])} ({times(figure)})"
            cells.append(f"**{cell}**" if name == targets.CANDIDATE and figure else cell)
        rows.append(cells)
    return markdown([f"{unit} / operation (to uvloop)", *names], rows)


def idle_table(by_loop: Mapping[str, Any]) -> str:
    rows = []
    for loop in in_order(by_loop):
        metrics = by_loop[loop]
        cells = [name_of(loop), with_spread(metrics["rss_bytes"]), times(metrics["rss_bytes"])]
        cells += [number(metrics[metric]["median"]) for metric in ("blocks", "idle_cpu_us_per_s")]
        rows.append([f"**{cell}**" if loop == targets.CANDIDATE else cell for cell in cells])
    head = ["", "bytes / connection", "to uvloop", "Python's blocks / connection", "CPU us / s, all idle"]
    return markdown(head, rows)


def target_rows(judged: Iterable[targets.Judged]) -> list[list[str]]:
    rows = []
    for entry in judged:
        got = with_ratio_spread(entry.ratio)
        target = entry.target
        against = entry.peer if target.peer == entry.peer else f"{target.peer}: {entry.peer}"
        rows.append([target.goal, target.candidate, against, target.bound, got, entry.verdict])
    return rows


def standing_rows(rows: Iterable[Standing]) -> list[list[str]]:
    return [
        [
            row.case.name,
            row.metric,
            row.first,
            number(row.figure),
            row.next or "-",
            f"{row.next_ratio['median']:.2f} x" if row.next_ratio else "-",
            with_ratio_spread(row.ours_to_best),
        ]
        for row in rows
    ]


def with_ratio_spread(spread: Mapping[str, float] | None) -> str:
    return f"{spread['median']:.2f} x ({spread['min']:.2f} - {spread['max']:.2f})" if spread else "-"


STANDING_HEAD = ["case", "figure", "first", "its median", "next", "next to first", "ferrio to the best other"]

TARGET_HEAD = ["goal", "of", "against", "wanted", "got (spread)", "verdict"]


def plain(head: list[str], rows: list[list[str]]) -> str:
    """The same for a terminal: aligned, without bars."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def measured_cases(summary: Mapping[str, Any]) -> list[Case]:
    return [case for case in CASES if case.name in summary]


def provenance(results: Mapping[str, Any]) -> str:
    machine, python, settings = results["machine"], results["python"], results["settings"]
    versions = ", ".join(f"{name} {version or '?'}" for name, version in results["versions"].items())
    virtual = ", virtual machine" if machine["hypervisor"] else ""
    commit = f", commit {results['commit']}" if results["commit"] else ""
    sentences = [
        f"{machine['cpu']}, {machine['cores']} cores{virtual}, {machine['kernel']}.",
        f"Python {python['build']}. {python['evidence']}",
        f"{versions}{commit}. {results['date']}.",
        f"Rounds, interleaved: {results['rounds']}; network samples of {settings['seconds']:g} s after",
        f"{settings['warmup_s']:g} s of warm-up, micro samples of {settings['micro_repeats']} x",
        f"{settings['micro_seconds']:g} s; server on core {settings['server_core']}, load generator on core",
        f"{settings['client_core']}.",
    ]
    return " ".join(sentences)


def page(results: Mapping[str, Any], plots: list[tuple[str, str]]) -> str:
    """The whole report; *plots* are (file name, title)."""
    summary = results["summary"]
    parts = ["# Benchmarks\n"]
    reasons = verdict.against_quoting(results)
    if reasons:
        parts.append("> **Not for quoting.** " + " ".join(reasons) + "\n")
    parts.append(provenance(results) + "\n")
    parts.append(
        "Figures are medians over the rounds, in brackets the smallest and largest; a ratio is the median of "
        "the rounds' own ratios. `C, raw epoll` is the same echo in C, straight on the kernel: the limit.\n"
    )
    parts += [f"![{title}]({name})\n" for name, title in plots]
    parts.append(
        "## Who is first\n\nLess is better. The next is the best loop of another maker: `ferrio` and `ferrio.asyncio` "
        f"are one.\n\n{markdown(STANDING_HEAD, standing_rows(standings(results['samples'])))}"
    )
    cases = measured_cases(summary)
    for case in cases:
        if isinstance(case, EchoCase):
            parts.append(f"## {case.title}\n\n{echo_table(summary[case.name])}")
        elif isinstance(case, IdleCase):
            parts.append(f"## {case.title}\n\n{idle_table(summary[case.name])}")
    apps = [case for case in cases if isinstance(case, AppCase)]
    if apps:
        parts.append(f"## Applications\n\n{app_table(apps, summary)}")
    for unit, title in (("ns", "Operations in one process"), ("bytes", "Memory in one process")):
        micros = [case for case in cases if isinstance(case, MicroCase) and case.unit == unit]
        if micros:
            meaning = "\n".join(f"- `{case.name}`: {case.title}." for case in micros)
            parts.append(f"## {title}\n\n{micro_table(micros, summary, unit)}\n{meaning}\n")
    judged = targets.judge(targets.load(), results["samples"])
    parts.append(f"## Targets\n\n{markdown(TARGET_HEAD, target_rows(judged))}")
    remarks = list(results["left_out"].values()) + verdict.notes(results)
    if remarks:
        parts.append("## Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks) + "\n")
    return "\n".join(parts)
