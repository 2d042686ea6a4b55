"""The own test suites of libraries that change a loop's time or nest its runs: on asyncio, then on Ferrio.

    python tests/libraries/suites.py [LIBRARY ...]      in the environment of `make libraries`

A suite comes with the library's source archive, in the release that is named here, and with what it needs besides
pytest, from the package index into a folder that is removed in the end. Each runs as it is, then under `python -m
ferrio`; what fails in the first run tells nothing. The exit status is 1 if a suite ends well on one of the two only.

async-solipsism's loop is its own, over asyncio's: Ferrio is installed beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

LIMIT_S = 300.0


class Suite(NamedTuple):
    """Where a library's tests are in its archive, and what they import."""

    release: str
    tests: str
    needs: tuple[str, ...] = ()


SUITES = {
    "looptime": Suite("looptime==0.9", "tests", ("looptime==0.9", "pytest-mock", "async-timeout")),
    "async-solipsism": Suite("async-solipsism==0.10", "test", ("async-solipsism==0.10", "pytest-mock")),
    "nest-asyncio": Suite("nest-asyncio==1.6.0", "tests/nest_test.py", ("nest-asyncio==1.6.0",)),
}


def fetch(suite: Suite, folder: Path) -> Path:
    """The unpacked archive; what the suite needs lies in *folder* / ``needs``."""
    pip = [sys.executable, "-m", "pip"]
    common = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*pip, "download", *common, "--no-binary", ":all:", "--dest", folder, suite.release],
        check=True,
        timeout=LIMIT_S,
    )
    subprocess.run([*pip, "install", *common, "--target", folder / "needs", *suite.needs], check=True, timeout=LIMIT_S)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def run(suite: Suite, source: Path, loop: str) -> tuple[int, str]:
    """The exit status of a suite, and what pytest says last."""
    command = [sys.executable, *(["-m", "ferrio"] if loop == "ferrio" else []), "-m", "pytest"]
    path = os.pathsep.join(filter(None, [str(source.parent / "needs"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", suite.tests],
        cwd=source,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode and "-v" in sys.argv:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    return done.returncode, lines[-1]


def main() -> int:
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    unknown = set(chosen) - set(SUITES)
    if unknown:
        print(f"no such suite: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    differing = 0
    for name in chosen or SUITES:
        with tempfile.TemporaryDirectory() as folder:
            source = fetch(SUITES[name], Path(folder))
            status: dict[str, int] = {}
            for loop in ("asyncio", "ferrio"):
                status[loop], said = run(SUITES[name], source, loop)
                print(f"{name:20} {loop:8} {said}", flush=True)
        differing += status["asyncio"] != status["ferrio"]
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
