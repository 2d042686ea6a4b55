"""Instructions that one operation takes in user space, which other programs on the machine do not move.

    python benchmarks/instructions.py [--only call_soon,echo_*] [--loop ferrio] [--beside FOLDER]
    python benchmarks/instructions.py --baseline    compare the hot paths with instructions.json
    python benchmarks/instructions.py --update      write what they take now into it

Each case runs twice under valgrind's cachegrind, once with twice the operations; the difference is theirs alone,
without the start of the interpreter. ``--beside FOLDER`` counts a second build of the package as well, which lies in
FOLDER (another checkout's ``python``, built for the same interpreter), and shows the ratio. Needs valgrind.

``instructions.json`` has a baseline for each compiler, interpreter and valgrind that somebody has written one with:
other ones make other code, so their counts say nothing about a change. ``--baseline`` fails when a path takes more than
1 % more, and names the functions that grew; without a baseline that fits it says so, and that is no failure.

It also counts an echo and a step of a task on a loop that is watched (``ferrio.watch``), and fails when that takes much
more than without. That needs no baseline.
"""

import argparse
import asyncio
import fnmatch
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import loops
from micro import scheduling, waiting  # noqa: F401 - registers its cases
from micro.echoes import ECHOES, TLS_ECHOES, echo, echo_over_tls
from micro.registry import BENCHMARKS

#: Operations of the smaller run: enough that the free lists and caches are filled before the difference begins.
OPERATIONS = 4_000
#: The same for messages over TLS, most of which is arithmetic.
TLS_OPERATIONS = 400
LIMIT_S = 300
#: Cases with a second thread, a child process or a wait do not take the same path twice.
IN_PROCESS = (
    *("call_soon", "call_soon_threadsafe", "call_later_cancel", "spawn", "sleep_zero", "future_wake", "gather_100"),
    *("spawn_burst", "future_handover", "task_group_100", "wait_100", "as_completed_100", "shield", "wait_for"),
    *("timeout", "lock_free", "lock_contended", "semaphore", "event", "queue", "queue_of_one", "condition", "barrier"),
)
#: An echo, a task's step and its beginning, a callback, a timer, a lock, an item of a queue, and `sock_recv`.
HOT = (
    *("call_soon", "call_later_cancel", "spawn", "sleep_zero", "future_wake", "lock_free", "queue"),
    *("echo_protocol", "echo_streams", "echo_sock"),
)
#: How often as many instructions a watch may make of an operation. In a process with a second thread some of glibc's
#: functions take a longer way. Those of an echo are of the Python socket that is its other end.
WATCHED = {"echo_protocol": 1.02, "sleep_zero": 1.02}
#: Seconds after which a callback counts as one that blocks. The thread that looks goes by the clock, and valgrind makes
#: a run some fifty times as long: with so many seconds it looks as seldom in a run as it does otherwise.
WATCH_S = 10
BASELINES = Path(__file__).with_suffix(".json")
#: By how much a path may take more.
TOLERANCE = 0.01
#: Functions that take fewer instructions of one operation are not in a baseline.
LEAST = 1.0
#: How many of the functions that grew are named.
NAMED = 12

#: What a compiler adds to the name of a function of which it makes several.
VARIANT = re.compile(r"(\.(isra|part|constprop|llvm|cold|lto_priv)(\.\d+)*)+$|::h[0-9a-f]{16}$")

#: Instructions of one operation, by function.
Counts = dict[str, float]


def play(name: str, operations: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        if name in ECHOES:
            await echo(name, loop, operations)
        elif name in TLS_ECHOES:
            await echo_over_tls(name, loop, operations)
        else:
            await BENCHMARKS[name].run(loop, max(1, operations // BENCHMARKS[name].per_round))

    loop_name = os.environ["LOOP"]
    waiting.namespace = loops.namespace(loop_name)
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(loop_name)) as runner:
        runner.run(main())


def instructions(name: str, operations: int, loop: str, folder: str | None, watch_s: float = 0) -> Counter[str]:
    """What each function takes in one run, from the start of the interpreter to its end."""
    environment = os.environ | {"LOOP": loop, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["FERRIO_WATCH"] = str(watch_s)
    if folder is not None:
        environment["PYTHONPATH"] = folder
    with tempfile.NamedTemporaryFile("r") as found:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={found.name}"]
        command += [sys.executable, __file__, "--play", name, "--operations", str(operations)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode != 0:
            sys.exit(f"{name} on {loop}: {done.stderr[-2000:]}")
        return functions(found)


def functions(lines: Iterable[str]) -> Counter[str]:
    """The instructions of each function in a file that cachegrind has written."""
    counted: Counter[str] = Counter()
    function = ""
    for line in lines:
        if line.startswith("fn="):
            function = VARIANT.sub("", line[3:].strip())
        elif line[0].isdigit():
            counted[function] += int(line.split()[1])
    return counted


def an_operation(name: str, loop: str, folder: str | None, watch_s: float = 0) -> Counts:
    per_round = 1 if name in ECHOES | TLS_ECHOES else BENCHMARKS[name].per_round
    operations = TLS_OPERATIONS if name in TLS_ECHOES else OPERATIONS
    first = max(1, operations // per_round) * per_round
    once, twice = (instructions(name, times * first, loop, folder, watch_s) for times in (1, 2))
    return {function: (twice[function] - once[function]) / first for function in once | twice}


def grown(before: Counts, now: Counts) -> Iterator[str]:
    """Lines about the functions that take more than before, those that grew most first."""
    growth = {function: count - before.get(function, 0.0) for function, count in now.items()}
    for function, more in sorted(growth.items(), key=lambda pair: -pair[1])[:NAMED]:
        if more >= LEAST:
            yield f"      {more:+8,.0f}  {before.get(function, 0.0):8,.0f} -> {now[function]:8,.0f}  {function}"


# --- baselines ----------------------------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What decides which instructions a source becomes."""

    def version(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return {
        "rustc": version("rustc", "--version"),
        "interpreter": f"{platform.machine()} CPython {sys.version}",
        "valgrind": version("valgrind", "--version"),
    }


def stored() -> list[dict[str, Any]]:
    return json.loads(BASELINES.read_text()) if BASELINES.exists() else []


def fitting(baselines: list[dict[str, Any]]) -> dict[str, Any] | None:
    here = machine()
    return next((baseline for baseline in baselines if baseline["machine"] == here), None)


def update(counts: dict[str, Counts]) -> None:
    """Write a baseline for this machine; cases that were not counted keep what they have."""
    baselines = stored()
    baseline = fitting(baselines)
    if baseline is None:
        baseline = {"machine": machine(), "paths": {}}
        baselines.append(baseline)
    for name, count in counts.items():
        named = {function: round(number, 1) for function, number in sorted(count.items()) if number >= LEAST}
        baseline["paths"][name] = {"instructions": round(sum(count.values()), 1), "functions": named}
    BASELINES.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n")


def verdict(name: str, now: Counts, path: dict[str, Any]) -> tuple[bool, str]:
    """Whether a path takes no more than it may, and lines about it."""
    total, before = sum(now.values()), path["instructions"]
    holds = total <= before * (1 + TOLERANCE)
    line = f"  {name:24} {total:10,.0f}   baseline {before:10,.0f}   ratio {total / before:.3f}"
    return holds, line if holds else "\n".join([f"{line}   MORE", *grown(path["functions"], now)])


def compare(counts: Iterable[tuple[str, Counts]], baseline: dict[str, Any]) -> int:
    failed = []
    for name, now in counts:
        if name not in baseline["paths"]:
            print(f"  {name:24} {sum(now.values()):10,.0f}   not in the baseline", flush=True)
            continue
        holds, lines = verdict(name, now, baseline["paths"][name])
        print(lines, flush=True)
        failed += [] if holds else [name]
    if failed:
        print(f"more than {TOLERANCE:.0%} up: {', '.join(failed)}. If it has to be: --update, and say why.")
    return int(bool(failed))


def in_parallel(names: list[str], loop: str, watch_s: float = 0) -> Iterator[tuple[str, Counts]]:
    """Other programs move no count, so as many cases are counted at a time as there are processors."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from zip(names, pool.map(lambda name: an_operation(name, loop, None, watch_s), names), strict=True)


def compare_watched(counts: dict[str, Counts]) -> int:
    """Compare a watched loop with one that is not, whose counts are given; the exit status."""
    failed = []
    print(f"instructions an operation, watched (ferrio.watch, {WATCH_S} s)", flush=True)
    for name, watched in in_parallel(list(counts), "ferrio", WATCH_S):
        holds, line = verdict_of_watch(name, counts[name], watched)
        print(line, flush=True)
        failed += [] if holds else [name]
    if failed:
        print(f"more than a watch may cost: {', '.join(failed)}")
    return int(bool(failed))


def verdict_of_watch(name: str, without: Counts, watched: Counts) -> tuple[bool, str]:
    """Whether a watched operation takes no more than it may, and lines about it."""
    before, total = sum(without.values()), sum(watched.values())
    holds = total <= before * WATCHED[name]
    line = f"  {name:24} {total:10,.0f}   without  {before:10,.0f}   ratio {total / before:.3f}"
    return holds, line if holds else "\n".join([f"{line}   MORE", *grown(without, watched)])


def compare_hot_paths(names: list[str], loop: str) -> int:
    """Compare with what is stored for this machine, if anything is, and with a watched loop; the exit status."""
    baseline = fitting(stored())
    watched = [name for name in WATCHED if name in names and loop == "ferrio"]
    if baseline is None:
        here = "\n  ".join(machine().values())
        print(f"NOT COMPARED: {BASELINES.name} has no baseline for\n  {here}")
        print(f"Build what the change starts from, and with it: {sys.executable} {__file__} --update")
        return compare_watched(dict(in_parallel(watched, loop)))
    counts: dict[str, Counts] = {}
    status = compare(noted(in_parallel(names, loop), counts), baseline)
    return status | compare_watched({name: counts[name] for name in watched})


def noted(counts: Iterable[tuple[str, Counts]], notes: dict[str, Counts]) -> Iterator[tuple[str, Counts]]:
    """*counts*, each of which is put into *notes* as it passes."""
    for name, now in counts:
        notes[name] = now
        yield name, now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*IN_PROCESS, *ECHOES, *TLS_ECHOES]
    parser.add_argument("--only", help="names or patterns, with commas between them: " + " ".join(names))
    parser.add_argument("--loop", default="ferrio", choices=loops.NAMES)
    parser.add_argument("--beside", metavar="FOLDER", help="a second build of the package")
    parser.add_argument("--baseline", action="store_true", help="compare the hot paths with the stored counts")
    parser.add_argument("--update", action="store_true", help="store the counts of the hot paths")
    parser.add_argument("--play", choices=names, help=argparse.SUPPRESS)
    parser.add_argument("--operations", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options.operations)
        return 0
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: it comes with the package valgrind of most distributions")
    patterns = (options.only or "*").split(",")
    chosen = HOT if options.baseline or options.update else names
    chosen = [name for name in chosen if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    print(f"instructions an operation, {options.loop}, {sys.version.split()[0]}", flush=True)
    if options.update:
        update(dict(in_parallel(chosen, options.loop)))
        print(f"written: {BASELINES}")
        return 0
    if options.baseline:
        return compare_hot_paths(chosen, options.loop)
    for name in chosen:
        ours = an_operation(name, options.loop, None)
        line = f"  {name:24} {sum(ours.values()):10,.0f}"
        if options.beside:
            beside = an_operation(name, options.loop, options.beside)
            ratio = sum(ours.values()) / sum(beside.values())
            line += f"   beside {sum(beside.values()):10,.0f}   ratio {ratio:.3f}"
            if ratio > 1 + TOLERANCE:
                line = "\n".join([line, *grown(beside, ours)])
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
