"""The demo's figures: medians of rounds, as a table and as a picture."""

import os
import platform
import statistics
import sysconfig
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Round:
    """One crawl of the whole site by one side."""

    pages_per_s: float
    server_cpu_s: float
    client_cpu_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Row:
    label: str
    field: str
    form: str


ROWS = [
    Row("pages a second", "pages_per_s", ",.0f"),
    Row("server, CPU seconds", "server_cpu_s", ".2f"),
    Row("client, CPU seconds", "client_cpu_s", ".2f"),
    Row("p50 of a page, ms", "p50_ms", ".1f"),
    Row("p99 of a page, ms", "p99_ms", ".1f"),
]


def values(rounds: Sequence[Round], field: str) -> list[float]:
    return [getattr(each, field) for each in rounds]


def median(rounds: Sequence[Round], field: str) -> float:
    return statistics.median(values(rounds, field))


def interpreter() -> str:
    """Which Python, and whether its build was optimised: that moves every figure."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "" if optimised else ", unoptimised interpreter build"
    return f"{platform.python_implementation()} {platform.python_version()}{build}"


def conditions(rounds: int, pages: int, concurrency: int) -> str:
    cpus = len(os.sched_getaffinity(0))
    placement = "server and client on a CPU each" if cpus > 1 else "server and client on one CPU"
    return (
        f"Medians of {rounds} rounds in turns. A round is {pages:,} pages, {concurrency} at a time. "
        f"{interpreter()}. {platform.system()}, {platform.machine()}; {placement}."
    )


def table(results: dict[str, list[Round]], note: str) -> str:
    """Medians of the two sides, and the first divided by the second."""
    first, second = results
    lines = [f"{'':24}{first:>16}{second:>16}{'ratio':>10}   least - most, {first} | {second}"]
    for row in ROWS:
        ours, theirs = (median(results[side], row.field) for side in (first, second))
        measured = (values(results[side], row.field) for side in (first, second))
        spread = " | ".join(f"{min(each):{row.form}} - {max(each):{row.form}}" for each in measured)
        ratio = f"{ours / theirs:.2f}" if theirs else "-"
        lines.append(f"{row.label:24}{ours:16{row.form}}{theirs:16{row.form}}{ratio:>10}   {spread}")
    return "\n".join([*lines, note])


OURS, THEIRS, INK, FAINT = "#c2410c", "#64748b", "#1e293b", "#e2e8f0"


def plot(results: dict[str, list[Round]], note: str, file: Path) -> None:
    """Three panels, a dot for each round and a bar for the median."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update(
        {
            "font.size": 11,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": FAINT,
            "xtick.color": INK,
            "ytick.color": THEIRS,
        }
    )
    panels = [
        ("Pages a second", "more is better", ["pages_per_s"], [""], ",.0f"),
        (
            "CPU seconds of a round",
            "less is better",
            ["server_cpu_s", "client_cpu_s"],
            ["server", "client"],
            ".2f",
        ),
        ("Milliseconds for a page", "less is better", ["p50_ms", "p99_ms"], ["p50", "p99"], ".0f"),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.8), width_ratios=[1, 1.6, 1.6])
    for axis, (title, sense, fields, names, form) in zip(axes, panels, strict=True):
        for place, field in enumerate(fields):
            for offset, (side, colour) in enumerate(zip(results, (OURS, THEIRS), strict=True)):
                x = place + (offset - 0.5) * 0.4
                level = median(results[side], field)
                dots = values(results[side], field)
                spread = [x + 0.2 * (index / max(len(dots) - 1, 1) - 0.5) for index in range(len(dots))]
                axis.bar(x, level, 0.36, color=colour, alpha=0.9, zorder=2)
                axis.scatter(spread, dots, s=14, color="white", edgecolor=INK, linewidth=0.7, zorder=3)
                axis.annotate(
                    f"{level:{form}}",
                    (x, max(dots)),
                    xytext=(0, 7),
                    textcoords="offset points",
                    ha="center",
                    fontweight="bold",
                    color=colour,
                )
        most = max(max(values(rounds, field)) for rounds in results.values() for field in fields)
        axis.set_ylim(0, most * 1.18)
        axis.set_xlim(-0.6, len(fields) - 0.4)
        axis.set_xticks(range(len(fields)), names)
        axis.tick_params(length=0)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:g}")
        axis.grid(axis="y", color=FAINT, zorder=0)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_title(title, loc="left", fontweight="bold", pad=20)
        axis.text(0, 1.03, sense, transform=axis.transAxes, fontsize=9.5, color=THEIRS)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (OURS, THEIRS)]
    figure.legend(handles, list(results), loc="upper right", ncols=2, frameon=False, bbox_to_anchor=(0.99, 0.985))
    figure.text(0.012, 0.945, "One FastAPI site, one aiohttp crawler, two event loops", fontsize=15, fontweight="bold")
    figure.text(0.012, 0.02, textwrap.fill(note, 170), fontsize=8.5, color=THEIRS)
    figure.tight_layout(rect=(0, 0.07, 1, 0.92), w_pad=2.5)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)
