"""Install a package into an empty environment and run the package's tests there, without the source tree.

    python scripts/try_package.py dist [--interpreter python3.13 ...] [--sources] [--pytest OPTIONS]

For each interpreter: a new environment in a folder for temporary files, the fitting wheel of the folder (or, with
`--sources`, a build of the source distribution), the tests' own requirements, uvloop, and a copy of `tests/`. What is
run are `tests/unit` and `tests/parity`, but for the tests of the repository itself. Then the time that `import ferrio`
takes is printed beside those of `import uvloop` and `import asyncio`, in the same environment, and has a limit.
"""

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: They look at files of the repository that a package does not have.
OF_THE_REPOSITORY = (
    "unit/test_compatibility_page.py",
    "unit/test_layers.py",
    "unit/test_release.py",
    "unit/test_third_party_notices.py",
)

#: Interpreters started for each import; the smallest of their times counts.
STARTS = 15
#: What importing Ferrio may add to importing asyncio, in parts of that. It was an eighth to a sixth when this was set.
MOST_OF_ASYNCIO = 0.2
#: The same in parts of what uvloop adds, where asyncio has not imported `typing` for it: from Python 3.14 on.
MOST_OF_UVLOOP = 1.1


def run(*command: str | Path, cwd: Path) -> None:
    # Nothing of the checkout may be found by accident.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    subprocess.run(command, cwd=cwd, env=environment, check=True)


def cpu_seconds(python: Path, statement: str, cwd: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(python, "-I", "-c", statement, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def has_typing(python: Path, cwd: Path) -> bool:
    """Whether importing asyncio imports `typing`."""
    ask = "import asyncio, sys; sys.exit('typing' not in sys.modules)"
    return subprocess.run([python, "-I", "-c", ask], cwd=cwd, check=False).returncode == 0


def compare_imports(python: Path, cwd: Path) -> bool:
    """Print what the imports cost, uvloop's beside Ferrio's; whether Ferrio's has not grown."""
    times: dict[str, list[float]] = {"pass": [], "import asyncio": [], "import uvloop": [], "import ferrio": []}
    for _ in range(STARTS):
        for statement, found in times.items():
            found.append(cpu_seconds(python, statement, cwd))
    least = {statement: min(found) - min(times["pass"]) for statement, found in times.items()}
    spread = statistics.median(times["pass"]) - min(times["pass"])
    for statement in ("import asyncio", "import uvloop", "import ferrio"):
        print(f"{statement}: {least[statement] * 1e3:.1f} ms of CPU (+- {spread * 1e3:.1f})", flush=True)
    ours, uvloops = (least[statement] - least["import asyncio"] for statement in ("import ferrio", "import uvloop"))
    limits = [least["import asyncio"] * MOST_OF_ASYNCIO]
    if not has_typing(python, cwd):
        limits.append(uvloops * MOST_OF_UVLOOP)
    return ours <= min(limits) + spread


def package_for(folder: Path, python: Path, sources: bool) -> Path:
    if sources:
        return max(folder.glob("*.tar.gz"))
    tag = subprocess.run(
        [python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = [wheel for wheel in folder.glob("*.whl") if wheel.name.split("-")[3] == tag]
    if not found:
        sys.exit(f"{folder} has no wheel for {tag}")
    return max(found)


def try_package(folder: Path, interpreter: str, sources: bool, options: list[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="ferrio-package-") as name:
        here = Path(name)
        run(interpreter, "-m", "venv", here / "venv", cwd=here)
        python = here / "venv" / "bin" / "python"
        package = package_for(folder, python, sources)
        print(f"== {package.name}, {interpreter}", flush=True)
        run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", cwd=here)
        run(python, "-m", "pip", "install", "--quiet", package.resolve(), cwd=here)
        run(python, "-I", "-c", "import ferrio; print(ferrio.__file__)", cwd=here)
        shutil.copytree(ROOT / "tests", here / "tests", ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        # The requirements and options of the tests; there is no source beside it that could be built.
        shutil.copy(ROOT / "pyproject.toml", here)
        run(python, "-m", "pip", "install", "--quiet", "--group", "test", cwd=here)
        left_out = [f"--ignore=tests/{path}" for path in OF_THE_REPOSITORY]
        run(python, "-m", "pytest", "-q", "tests/unit", "tests/parity", *left_out, *options, cwd=here)
        # uvloop is not there before: servers would take it by themselves.
        run(python, "-m", "pip", "install", "--quiet", "uvloop", cwd=here)
        is_quick = compare_imports(python, here)
        if not is_quick:
            print("importing Ferrio has become slower", flush=True)
        return is_quick


def main() -> None:
    parser = argparse.ArgumentParser(description="Install packages into empty environments and test them there.")
    parser.add_argument("folder", type=Path, help="where the packages are")
    parser.add_argument("--interpreter", action="append", help="one to try it on; may be repeated; this one if omitted")
    parser.add_argument("--sources", action="store_true", help="build the source distribution; do not take a wheel")
    parser.add_argument("--pytest", default="", metavar="OPTIONS", help="for pytest, as one text: '-n 2'")
    arguments = parser.parse_args()
    results = [
        try_package(arguments.folder, interpreter, arguments.sources, shlex.split(arguments.pytest))
        for interpreter in arguments.interpreter or [sys.executable]
    ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
