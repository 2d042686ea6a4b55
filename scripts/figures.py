"""The table of speeds in README.md: what docs/benchmarks/results.json says.

    python scripts/figures.py            write the table into the page
    python scripts/figures.py --check    only look: are page and results of one mind?

The results are those of the last `python benchmarks --publish docs/benchmarks`.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
PAGE = ROOT / "README.md"

BEGIN = "<!-- figures: written by scripts/figures.py from docs/benchmarks/results.json -->"
END = "<!-- end of the figures -->"

COLUMNS = {
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "rsloop": "rsloop",
    "zuvloop": "zuvloop",
    "ferrio": "Ferrio",
    "ferrio.asyncio": "`ferrio.asyncio`",
    "c": "C, raw epoll",
}
#: Printed bold.
OURS = ("ferrio", "ferrio.asyncio")


@dataclass(frozen=True)
class Row:
    what: str
    case: str
    metric: str
    #: How many of the metric's units are one of the table's.
    scale: float = 1.0


ROWS = (
    Row("TCP echo, 100 connections x 1 KiB, server CPU us a message", "echo-protocol", "cpu_us"),
    Row("the same through streams", "echo-streams", "cpu_us"),
    Row("the same through `sock_recv` and `sock_sendall`", "echo-sock", "cpu_us"),
    Row("FastAPI under uvicorn, server CPU us a request", "app-fastapi", "cpu_us"),
    Row("aiohttp server, CPU us a request", "app-aiohttp", "cpu_us"),
    Row("aiohttp client, CPU us a request", "app-aiohttp-client", "cpu_us"),
    Row("asyncpg, client CPU us a query", "app-asyncpg", "cpu_us"),
    Row("UDP, there and back in one process, us", "udp_ping_pong", "ns", 1000),
    Row("connect, accept and close in one process, us", "connect_accept_close", "ns", 1000),
    Row("an idle connection, bytes of resident memory", "idle-connections", "rss_bytes"),
    Row("a task that waits for a future, bytes of both", "pending_task", "bytes"),
    Row("spawn a task and await it, ns", "spawn", "ns"),
    Row("`sleep(0)`, ns", "sleep_zero", "ns"),
    Row("`gather`, ns a child", "gather_100", "ns"),
    Row("`TaskGroup`, ns a child", "task_group_100", "ns"),
    Row("`async with` of a free `Lock`, ns", "lock_free", "ns"),
    Row("an item through a `Queue`, ns", "queue", "ns"),
    Row("`call_soon` and run, ns", "call_soon", "ns"),
    Row("`call_later` and `cancel`, ns", "call_later_cancel", "ns"),
)


def shown(figure: float) -> str:
    """Three digits; whole ones where there are more."""
    decimals = 0 if figure >= 99.95 else 1 if figure >= 9.995 else 2
    return f"{figure:,.{decimals}f}"


def table(results: dict[str, Any]) -> str:
    versions = results["versions"]
    heads = [f"{head} {versions[name]}" if name == "uvloop" else head for name, head in COLUMNS.items()]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for row in ROWS:
        cells = []
        for name in COLUMNS:
            figure = results["summary"].get(row.case, {}).get(name, {}).get(row.metric)
            text = shown(figure["median"] / row.scale) if figure else ""
            cells.append(f"**{text}**" if text and name in OURS else text)
        lines.append(f"| {row.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def passage(results: dict[str, Any]) -> str:
    """The table and the sentence before it."""
    machine, python = results["machine"], results["python"]
    guest = "a virtual machine" if machine["hypervisor"] else "a machine"
    where = f"{guest} with {machine['cores']} cores of an {machine['cpu'].replace('(R)', '')}, {machine['kernel']}"
    rounds = f"Medians of {results['rounds']} interleaved rounds on CPython {python['version']}"
    return f"{rounds}, on {where}:\n\n{table(results)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 when the page is out of date")
    options = parser.parse_args()
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n{passage(json.loads(RESULTS.read_text()))}\n{END}{after}"
    if not rest or not after:
        print(f"README.md has no place for the table: {BEGIN} ... {END}", file=sys.stderr)
        return 1
    if options.check:
        if fresh != page:
            print("README.md does not show docs/benchmarks/results.json: run scripts/figures.py", file=sys.stderr)
        return int(fresh != page)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
