"""Builds the two programs that are not Python: the load generator (cargo) and the C echo server (cc).

Cargo's folder is ``CARGO_TARGET_DIR`` when that is set, so that a build in a container with another C library
does not meet the host's.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .services import Services

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
OUTPUT = ROOT / "build" / "bench"
LOADGEN_MANIFEST = BENCHMARKS / "loadgen" / "Cargo.toml"
C_SOURCE = BENCHMARKS / "net" / "c_epoll_echo.c"


class BuildFailed(Exception):
    """A program could not be built; the argument is a sentence with the tool's words."""


@dataclass(frozen=True)
class Programs:
    loadgen: Path
    c_echo: Path
    services: Services


def cargo_target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "loadgen"


def build_all(services: Services, output: Path = OUTPUT) -> Programs:
    """Build what is out of date. *output* takes the C program."""
    return Programs(build_loadgen(), build_c_echo(output), services)


def build_loadgen() -> Path:
    target = cargo_target()
    command = ["cargo", "build", "--quiet", "--release", "--locked"]
    run_tool([*command, "--manifest-path", str(LOADGEN_MANIFEST), "--target-dir", str(target)])
    return target / "release" / "loadgen"


def build_c_echo(output: Path) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    program = output / "c_epoll_echo"
    fresh = output / f"c_epoll_echo.{os.getpid()}"
    run_tool([os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(C_SOURCE)])
    fresh.replace(program)  # another run may be using the old one
    return program


def run_tool(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise BuildFailed(f"{command[0]} is needed to build the benchmark programs and is not on the PATH.")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
