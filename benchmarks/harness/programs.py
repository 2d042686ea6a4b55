"""Builds the programs that are not Python: the load generator (cargo), the C echo servers and the TLS client (cc).

Cargo's folder is ``CARGO_TARGET_DIR`` when that is set, so that a build in a container with another C library
does not meet the host's.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .services import Services

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
OUTPUT = ROOT / "build" / "bench"
LOADGEN_MANIFEST = BENCHMARKS / "loadgen" / "Cargo.toml"
C_SOURCE = BENCHMARKS / "net" / "c_epoll_echo.c"
TLS_SOURCE = BENCHMARKS / "net" / "c_tls_client.c"
TLS_ECHO_SOURCE = BENCHMARKS / "net" / "c_tls_echo.c"


class BuildFailed(Exception):
    """A program could not be built; the argument is a sentence with the tool's words."""


@dataclass(frozen=True)
class Programs:
    loadgen: Path
    c_echo: Path
    services: Services
    output: Path = OUTPUT

    @cached_property
    def tls_client(self) -> Path:
        """The load generator for TLS, built when a case asks for it.

        Raises:
            BuildFailed: OpenSSL's headers are missing (``libssl-dev``), or the compiler.
        """
        return build_c(TLS_SOURCE, self.output / "c_tls_client", "-lssl", "-lcrypto")

    @cached_property
    def c_tls_echo(self) -> Path:
        """The C echo server over TLS, built when a case asks for it.

        Raises:
            BuildFailed: As for `tls_client`.
        """
        return build_c(TLS_ECHO_SOURCE, self.output / "c_tls_echo", "-lssl", "-lcrypto")


def cargo_target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "loadgen"


def build_all(services: Services, output: Path = OUTPUT) -> Programs:
    """Build what is out of date. *output* takes the C program."""
    return Programs(build_loadgen(), build_c_echo(output), services, output)


def build_loadgen() -> Path:
    target = cargo_target()
    command = ["cargo", "build", "--quiet", "--release", "--locked"]
    run_tool([*command, "--manifest-path", str(LOADGEN_MANIFEST), "--target-dir", str(target)])
    return target / "release" / "loadgen"


def build_c_echo(output: Path) -> Path:
    return build_c(C_SOURCE, output / "c_epoll_echo")


def build_c(source: Path, program: Path, *libraries: str) -> Path:
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_name(f"{program.name}.{os.getpid()}")
    compiler = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra"]
    run_tool([*compiler, "-o", str(fresh), str(source), *libraries])
    fresh.replace(program)  # another run may be using the old one
    return program


def run_tool(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise BuildFailed(f"{command[0]} is needed to build the benchmark programs and is not on the PATH.")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
