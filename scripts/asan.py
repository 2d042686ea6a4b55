"""Run Python with the native module built for AddressSanitizer, and fail when that has anything to say.

    python scripts/asan.py -m pytest -q tests/unit
    python scripts/asan.py tests/fuzz --seconds 60
    python scripts/asan.py --engine                       the engine crate's own tests

The module's reads and writes are checked, and those of the C library's functions that it or the interpreter calls; the
interpreter's own code is not instrumented. Python's small objects come from malloc, so that memory of one that is freed
is known as such. What was found is in build/asan/report.*, and is printed. The stack may grow further than usual, as
frames of instrumented code are several times larger, and tests may take longer.

Needs rustc on Linux with the sanitizer's runtime (rustup's toolchains have it) and gcc's libasan.
"""

import os
import resource
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "asan"
REPORTS = FOLDER / "report"
TARGET = f"{os.uname().machine}-unknown-linux-gnu"
#: `detect_leaks`: the interpreter frees little at its end. `handle_segv`: faulthandler's, which names the Python line.
OPTIONS = "detect_leaks=0:handle_segv=0:allocator_may_return_null=1:malloc_context_size=20"
#: The limit of a main thread's stack.
STACK_BYTES = 256 << 20
#: For one unit test.
LIMIT_S = 120


def cargo(*arguments: str) -> int:
    """Run cargo for code that the sanitizer checks. `-Z` is allowed to a stable compiler by RUSTC_BOOTSTRAP alone."""
    environment = {
        **os.environ,
        "RUSTC_BOOTSTRAP": "1",
        "RUSTFLAGS": "-Zsanitizer=address -Cforce-frame-pointers=yes",
        "PYO3_PYTHON": sys.executable,
        # Of its own for each interpreter, as its build script asks it.
        "CARGO_TARGET_DIR": str(ROOT / "target" / f"asan-{sysconfig.get_config_var('SOABI')}"),
    }
    return subprocess.run(["cargo", *arguments, "--target", TARGET], cwd=ROOT, env=environment, check=False).returncode


def build() -> Path:
    """Build the module; returns a folder to import the package from."""
    if cargo("build", "--quiet", "-p", "ferrio-python", "--profile", "checked"):
        sys.exit("asan: the build failed")
    package = FOLDER / f"package-{sysconfig.get_config_var('SOABI')}" / "ferrio"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for path in (ROOT / "python" / "ferrio").iterdir():
        if path.suffix != ".so" and path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    built = ROOT / "target" / f"asan-{sysconfig.get_config_var('SOABI')}" / TARGET / "checked" / "lib_ferrio.so"
    shutil.copy2(built, package / f"_ferrio{sysconfig.get_config_var('EXT_SUFFIX')}")
    return package.parent


def runtime() -> str:
    """gcc's libasan: Rust links its own into programs only, and this is a module of a program without."""
    path = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(path):
        sys.exit("asan: cc knows no libasan.so; Debian's package of it is libasan8, or comes with gcc")
    return os.path.realpath(path)


def allow_a_large_stack() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    soft = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def findings() -> list[Path]:
    """The reports that tell of more than a refused allocation, which tests ask for."""
    return [report for report in sorted(FOLDER.glob("report.*")) if "ERROR:" in report.read_text(errors="replace")]


def run(arguments: list[str]) -> int:
    package = build()
    allow_a_large_stack()
    for report in FOLDER.glob("report.*"):
        report.unlink()
    environment = {
        **os.environ,
        # The fuzzer reads what its children say; a test run keeps that to itself.
        "ASAN_OPTIONS": OPTIONS if arguments[:1] == ["tests/fuzz"] else f"{OPTIONS}:log_path={REPORTS}",
        "LD_PRELOAD": runtime(),
        "PYTHONMALLOC": "malloc",
        "FERRIO_TEST_LIMIT_S": str(LIMIT_S),
        "PYTHONPATH": str(package),
    }
    code = subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode
    reports = findings()
    for report in reports:
        print(f"\n{report}:\n{report.read_text(errors='replace')}")
    print(f"asan: {' '.join(arguments)}: exit status {code}, {len(reports)} reports")
    return code or int(bool(reports))


if __name__ == "__main__":
    if sys.argv[1:] == ["--engine"]:
        sys.exit(cargo("test", "--quiet", "-p", "ferrio-engine", "--all-features", "--tests"))
    sys.exit(run(sys.argv[1:]))
