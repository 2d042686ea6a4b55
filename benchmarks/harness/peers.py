"""Which of the loops are there: each is made once in a process of its own."""

import subprocess
import sys

from .programs import BENCHMARKS
from .sample import environment

PROBE = "import sys, loops; loops.new_loop(sys.argv[1]).close()"


def usable(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The loops that work here, and for each other one a sentence that says why it is left out."""
    there, left_out = [], {}
    for name in names:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE, name],
            cwd=BENCHMARKS,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if probe.returncode == 0:
            there.append(name)
        else:
            left_out[name] = sentence(name, probe.stderr)
    return there, left_out


def sentence(name: str, stderr: str) -> str:
    lines = stderr.strip().splitlines()
    reason = lines[-1] if lines else "it ended without a word"
    if reason == f"ModuleNotFoundError: No module named '{name}'":
        return f"{name} is left out: it is not installed (python -m pip install --group bench)."
    return f"{name} is left out: {reason}"
