"""Ferrio in two minutes: unchanged programs on its loop, a web service, a crawler, the loop's own work; asyncio beside.

    python examples/demo

Starts everything on 127.0.0.1 in processes of its own, ends them at its end or at Ctrl-C, and needs no
network. Server and client have a CPU each where there are two.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import (
    Comparison,
    Costs,
    Round,
    comparison_table,
    conditions,
    interpreter,
    of_the_loop,
    of_the_service,
    table,
    why_small,
)
from picture import plot
from sides import ASYNCIO, CLIENT_CPU, CONTROL, EXAMPLES, FERRIO, Children, Service, Side

#: No single program of the demo takes longer than this on a slow machine.
LIMIT_S = 60.0


def headline(number: int, text: str) -> None:
    print(f"\n\033[1m{number}. {text}\033[0m" if sys.stdout.isatty() else f"\n{number}. {text}", flush=True)


def shown(command: list[str]) -> str:
    """*command* as one would type it."""
    words = ["python" if word == sys.executable else word for word in command]
    here = f"{Path.cwd()}{os.sep}"
    return "$ " + " ".join(word.removeprefix(here) for word in words)


def run_hello(children: Children, side: Side) -> None:
    headline(1, "A program that knows only asyncio, unchanged")
    command = side.command(EXAMPLES / "hello.py")
    print(shown(command), flush=True)
    started = time.perf_counter()
    output = children.run(command, limit=LIMIT_S)
    print(output, end="")
    if output != "Hello\nHello\nWorld\nWorld\n":
        raise RuntimeError("hello.py printed something else")
    print(f"   two greetings, each a second long, in {time.perf_counter() - started:.2f} s with start-up")


def hold_connections(children: Children, side: Side, service: Service, count: int) -> None:
    headline(2, f"A FastAPI service that holds {count:,} keep-alive connections at once")
    print(shown(service.command))
    before = service.resident_bytes()
    command = side.command(EXAMPLES / "demo" / "hold_connections.py", service.base, count)
    holder = children.start(command, cpu=CLIENT_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    first = json.loads(holder.stdout.readline())
    side.check(first["loop"])
    held = service.sockets() - service.own_sockets
    each = (service.resident_bytes() - before) / max(held, 1) / 1024
    print(f"   first round: {first['alive']:,} of {first['open']:,} answered, {first['seconds']:.2f} s")
    print(f"   the service holds {held:,} connections; its memory grew by {each:.1f} KiB for each", flush=True)
    holder.stdin.write("\n")
    holder.stdin.flush()
    second = json.loads(holder.stdout.readline())
    print(f"   second round on the same connections: {second['alive']:,} alive, {second['seconds']:.2f} s")
    holder.wait(LIMIT_S)
    if second["alive"] != count:
        raise RuntimeError(f"{count - second['alive']} connections were lost")


def scrape(children: Children, side: Side, service: Service) -> None:
    headline(3, "A scraper, unchanged, and a crawler that checks every page")
    command = side.command(EXAMPLES / "scrape.py", *(f"{service.base}/api/pages/{number}" for number in (1, 2)))
    print(shown(command), flush=True)
    print(children.run(command, limit=LIMIT_S), end="")


def crawl(
    children: Children, side: Side, service: Service, pages: int, concurrency: int, *, verbose: bool = False
) -> Round:
    """One round: the whole site by one crawler process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = side.command(
            EXAMPLES / "crawl.py", f"{service.base}/pages/0", "--pages", pages, "--concurrency", concurrency
        )
        if verbose:
            print(shown(command), flush=True)
        before = service.cpu_seconds()
        output = children.run(
            [*command, "--json", str(file)],
            limit=LIMIT_S,
            stderr=None if verbose or sys.stderr.isatty() else subprocess.DEVNULL,
        )
        server_cpu_s = service.cpu_seconds() - before
        seen = json.loads(file.read_text())
    side.check(seen["loop"])
    if seen["pages"] != pages:
        raise RuntimeError(f"{seen['pages']} of {pages} pages")
    if verbose:
        print(f"   {output}", end="", flush=True)
    return Round(seen["pages_per_s"], server_cpu_s, seen["cpu_s"], seen["p50_ms"], seen["p99_ms"])


def loop_work(children: Children, side: Side, certificate: Path) -> Costs:
    """One round of what the loop itself does."""
    seen = json.loads(children.run(side.command(EXAMPLES / "demo" / "loop_work.py", certificate), limit=LIMIT_S))
    side.check(seen["loop"])
    return dict(seen["costs"])


def make_certificate(folder: str) -> Path:
    """A certificate for localhost and its key, in one file; both ends of a connection trust it."""
    import trustme

    file = Path(folder) / "certificate_and_key.pem"
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(file, append=True)
    return file


def compare(
    children: Children, services: dict[Side, Service], arguments: argparse.Namespace
) -> tuple[dict[str, list[Costs]], dict[str, list[Round]]]:
    """Rounds of all sides in turns, beginning with another side each time; both services run all the while.

    Fewer rounds than asked for when time runs out, but the same number for each side, and one at least.
    """
    costs: dict[str, list[Costs]] = {side.name: [] for side in services}
    crawls: dict[str, list[Round]] = {side.name: [] for side in services}
    end = time.monotonic() + arguments.seconds
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(folder)
        for number in range(arguments.rounds):
            began = time.monotonic()
            if number and began + longest > end:
                break
            sides = list(services)
            for side in sides if number % 2 == 0 else reversed(sides):
                where = f"   round {number + 1} of at most {arguments.rounds}, {side.name}"
                print(f"{where}: tasks, timers, connections, streams, TLS ...", flush=True)
                costs[side.name].append(loop_work(children, side, certificate))
                each = crawl(children, side, services[side], arguments.pages, arguments.concurrency)
                crawls[side.name].append(each)
                print(f"{where}: {each.pages_per_s:,.0f} pages a second", flush=True)
            longest = max(longest, time.monotonic() - began)
    return costs, crawls


def in_groups(rows: list[Comparison]) -> list[list[Comparison]]:
    """One group for each kind of work."""
    return [list(group) for _, group in itertools.groupby(rows, key=lambda row: row.name)]


def demo(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    first = CONTROL if os.environ.get("FERRIO_TEST_LOOP") == "asyncio" else FERRIO
    print(f"{first.name} on {interpreter()}")
    with Children() as children:
        run_hello(children, first)
        service = Service(children, first, arguments.pages)
        hold_connections(children, first, service, arguments.connections)
        scrape(children, first, service)
        crawl(children, first, service, arguments.pages, arguments.concurrency, verbose=True)
        headline(4, f"{first.name} and asyncio in turns: what the loop itself does, and the service with its crawler")
        services = {first: service, ASYNCIO: Service(children, ASYNCIO, arguments.pages)}
        # The other service has been crawled once already.
        crawl(children, ASYNCIO, services[ASYNCIO], arguments.pages, arguments.concurrency)
        costs, crawls = compare(children, services, arguments)
    ours, theirs = first.name, ASYNCIO.name
    note = conditions(len(crawls[ours]), arguments.pages, arguments.concurrency)
    loop_rows = of_the_loop(costs[ours], costs[theirs])
    service_rows = of_the_service(crawls[ours], crawls[theirs], arguments.pages)
    print(f"\nThe loop itself, CPU time or memory of one:\n{comparison_table(loop_rows, ours, theirs)}")
    print(f"\nThe service:\n{table(crawls, note)}\n{why_small()}")
    plot([*in_groups(loop_rows), service_rows], ours, theirs, [why_small(), note], arguments.plot)
    print(f"\n{arguments.plot} shows all of it - {time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pages", type=int, default=3000, help="pages of the site, all crawled in a round")
    parser.add_argument("--concurrency", type=int, default=100, help="pages fetched at once")
    parser.add_argument("--connections", type=int, default=1000, help="keep-alive connections held at once")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--seconds", type=float, default=75, help="begin no round that would end after this")
    parser.add_argument("--plot", type=Path, default=Path("build/demo/demo.png"), help="the picture")
    arguments = parser.parse_args()
    # Both ways of being told to end unwind the stack, and that ends the processes the demo has started.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        demo(arguments)
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted; every process it started has ended")
