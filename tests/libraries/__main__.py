"""Real libraries, each in a program that knows only asyncio: on asyncio, then on Ferrio.

    python tests/libraries [PROGRAM ...]      their names, without the folder and the ending
    make libraries                            with the libraries in an environment of their own

A program checks what it is about and ends with an error when that does not hold. It runs as it is, then under
``python -m ferrio``. The first is the control that shows the program to be right: what fails there tells nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LIMIT_S = 90.0
#: Modules for the programs, which are none themselves.
PARTS = {"loop_under_test", "answering"}


class Outcome(NamedTuple):
    """How a program ended: ``ok``, ``failed`` or ``missing``, and what it said last."""

    status: str
    last_line: str
    seconds: float


def run(program: Path, loop: str) -> Outcome:
    """Run *program* on *loop*, in a process of its own."""
    command = [sys.executable, *(["-m", "ferrio"] if loop == "ferrio" else []), str(program)]
    environment = {**os.environ, "FERRIO_TEST_LOOP": loop}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome("failed", f"no end in {LIMIT_S:.0f} s", LIMIT_S)
    took = time.monotonic() - began
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    if done.returncode == 0:
        return Outcome("ok", "", took)
    if lines[-1].startswith("ModuleNotFoundError") and "ferrio" not in lines[-1]:
        return Outcome("missing", lines[-1], took)
    if "-v" in sys.argv:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    return Outcome("failed", lines[-1], took)


def main() -> int:
    """Run what the command line names, or every program; the exit status."""
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    programs = [path for path in sorted((HERE / "programs").glob("*.py")) if path.stem not in PARTS]
    unknown = set(chosen) - {path.stem for path in programs}
    if unknown:
        print(f"no such program: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    failed = ran = 0
    for program in programs:
        if chosen and program.stem not in chosen:
            continue
        for loop in ("asyncio", "ferrio"):
            outcome = run(program, loop)
            failed += outcome.status == "failed"
            ran += outcome.status == "ok"
            print(
                f"{program.stem:24} {loop:8} {outcome.status:8} {outcome.seconds:5.1f} s  {outcome.last_line}",
                flush=True,
            )
    print(f"{ran} ok, {failed} failed")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
