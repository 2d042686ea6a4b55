"""Instructions that one operation takes in user space, which other programs on the machine do not move.

    python benchmarks/instructions.py [--only call_soon,echo_*] [--loop ferrio] [--beside FOLDER]

Each case runs twice under valgrind's cachegrind, once with twice the operations; the difference is theirs alone,
without the start of the interpreter. ``--beside FOLDER`` counts a second build of the package as well, which lies in
FOLDER (another checkout's ``python``, built for the same interpreter), and shows the ratio. Needs valgrind.
"""

import argparse
import asyncio
import fnmatch
import os
import re
import shutil
import subprocess
import sys

import loops
from micro import scheduling, waiting  # noqa: F401 - registers its cases
from micro.echoes import ECHOES, echo
from micro.registry import BENCHMARKS

#: Operations of the smaller run: enough that the free lists and caches are filled before the difference begins.
OPERATIONS = 4_000
LIMIT_S = 300
#: Cases with a second thread, a child process or a wait do not take the same path twice.
IN_PROCESS = (
    *("call_soon", "call_soon_threadsafe", "call_later_cancel", "spawn", "sleep_zero", "future_wake", "gather_100"),
    *("spawn_burst", "future_handover", "task_group_100", "wait_100", "as_completed_100", "shield", "wait_for"),
    *("timeout", "lock_free", "lock_contended", "semaphore", "event", "queue", "queue_of_one", "condition", "barrier"),
)


def play(name: str, operations: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        if name in ECHOES:
            await echo(name, loop, operations)
        else:
            await BENCHMARKS[name].run(loop, max(1, operations // BENCHMARKS[name].per_round))

    loop_name = os.environ["LOOP"]
    waiting.namespace = loops.namespace(loop_name)
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(loop_name)) as runner:
        runner.run(main())


def instructions(name: str, operations: int, loop: str, folder: str | None) -> int:
    """What one run takes, from the start of the interpreter to its end."""
    environment = os.environ | {"LOOP": loop, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if folder is not None:
        environment["PYTHONPATH"] = folder
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, __file__, "--play", name, "--operations", str(operations)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"{name} on {loop}: {done.stderr[-2000:]}")
    return int(found[1].replace(",", ""))


def an_operation(name: str, loop: str, folder: str | None) -> float:
    per_round = 1 if name in ECHOES else BENCHMARKS[name].per_round
    first = max(1, OPERATIONS // per_round) * per_round
    return (instructions(name, 2 * first, loop, folder) - instructions(name, first, loop, folder)) / first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*IN_PROCESS, *ECHOES]
    parser.add_argument("--only", default="*", help="names or patterns, with commas between them: " + " ".join(names))
    parser.add_argument("--loop", default="ferrio", choices=loops.NAMES)
    parser.add_argument("--beside", metavar="FOLDER", help="a second build of the package")
    parser.add_argument("--play", choices=names, help=argparse.SUPPRESS)
    parser.add_argument("--operations", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options.operations)
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: it comes with the package valgrind of most distributions")
    patterns = options.only.split(",")
    print(f"instructions an operation, {options.loop}, {sys.version.split()[0]}", flush=True)
    for name in names:
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        ours = an_operation(name, options.loop, None)
        line = f"  {name:24} {ours:10,.0f}"
        if options.beside:
            beside = an_operation(name, options.loop, options.beside)
            line += f"   beside {beside:10,.0f}   ratio {ours / beside:.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
