"""The demo's figures: medians of rounds, as tables; picture.py draws them."""

import importlib.util
import math
import os
import platform
import statistics
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: What loop_work.py prints: for each kind of work and each size the cost of one operation.
Costs = dict[str, dict[str, float]]


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
    """Which Python, and whether its build is known to be unoptimised: that moves every figure."""
    # Debian's executable is another build than the shared library whose arguments sysconfig has.
    is_told = not sysconfig.get_config_var("Py_ENABLE_SHARED") or "libpython" in Path("/proc/self/maps").read_text()
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = ", unoptimised interpreter build" if is_told and not optimised else ""
    return f"{platform.python_implementation()} {platform.python_version()}{build}"


def conditions(rounds: int, pages: int, concurrency: int) -> str:
    cpus = len(os.sched_getaffinity(0))
    placement = "server and client on a CPU each" if cpus > 1 else "server and client on one CPU"
    plural = "s" if rounds > 1 else ""
    return (
        f"Medians of {rounds} round{plural} in turns, {pages:,} pages each, {concurrency} at a time. "
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


@dataclass(frozen=True)
class Work:
    """A kind of work of which loop_work.py measures three sizes."""

    name: str
    #: How a size is called, in plural; empty for bytes.
    sizes: str
    unit: str


WORKS = {
    "tasks": Work("Spawn a task and await it", "at once", "us"),
    "timers": Work("Set a timer and cancel it", "pending", "us"),
    "connections": Work("Open, accept and close a connection", "open", "us"),
    "memory": Work("Memory of an open connection, both ends", "held", "KiB"),
    "streams": Work("A message there and back, streams", "", "us"),
    "tls": Work("A message there and back, TLS", "", "us"),
}


@dataclass(frozen=True)
class Comparison:
    """What one operation costs on both sides, a figure for each round; less is better."""

    name: str
    size: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours divided by theirs, within each round: the spread of the ratio."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def label(self) -> str:
        return f"{self.name}, {self.size}" if self.size else self.name

    @property
    def costs(self) -> tuple[str, str]:
        return readable(statistics.median(self.ours)), readable(statistics.median(self.theirs))


def readable(number: float) -> str:
    """Three digits."""
    number = float(f"{number:.3g}")
    return f"{number:,.{max(0, 2 - math.floor(math.log10(number)))}f}" if number > 0 else "0"


def size_of(work: Work, size: int) -> str:
    if work.sizes:
        return f"{size:,} {work.sizes}"
    return f"{size // 1024} KiB" if size % 1024 == 0 else f"{size} bytes"


def of_the_loop(ours: Sequence[Costs], theirs: Sequence[Costs]) -> list[Comparison]:
    """What the loop itself does. A kind that one of the sides has left out is left out."""
    found = []
    for key, work in WORKS.items():
        if not all(key in costs for costs in (*ours, *theirs)):
            continue
        scale = 1024 if work.unit == "KiB" else 1
        for size in ours[0][key]:
            sides = ([costs[key][size] / scale for costs in side] for side in (ours, theirs))
            found.append(Comparison(work.name, size_of(work, int(size)), work.unit, *sides))
    return found


def of_the_service(ours: Sequence[Round], theirs: Sequence[Round], pages: int) -> list[Comparison]:
    """A page of the FastAPI site: CPU time of the service and of the crawler."""
    return [
        Comparison(name, "", "us", *([getattr(each, field) / pages * 1e6 for each in side] for side in (ours, theirs)))
        for name, field in (
            ("A page of the FastAPI service", "server_cpu_s"),
            ("The same page in the crawler", "client_cpu_s"),
        )
    ]


def comparison_table(rows: Sequence[Comparison], first: str, second: str) -> str:
    lines = [f"{'':52}{first:>16}{second:>16}{'ratio':>10}   least - most"]
    for row in rows:
        ours, theirs = (f"{cost} {row.unit}" for cost in row.costs)
        spread = f"{min(row.ratios):.2f} - {max(row.ratios):.2f}"
        lines.append(f"{row.label:52}{ours:>16}{theirs:>16}{row.ratio:>10.2f}   {spread}")
    return "\n".join(lines)


def why_small() -> str:
    """One sentence on the service's rows."""
    parser = "httptools" if importlib.util.find_spec("httptools") else "h11, which is Python"
    return (
        f"A page is mostly FastAPI, uvicorn with its parser ({parser}) and the crawler's own code, "
        "which no loop makes faster."
    )
