"""Whether the running interpreter is the kind that figures are quoted for: built with PGO and LTO.

Two kinds of evidence count:

1. ``--enable-optimizations`` and ``--with-lto`` among the arguments of its ``configure``, which ``sysconfig``
   holds.
2. The log of the distribution's own test run. Debian and Ubuntu build twice: a static executable (optimised)
   and a shared library; ``sysconfig`` then holds the arguments of the library's build and says nothing about
   the executable. The test log of the static build is installed beside the documentation. It holds
   ``sys.version`` and a summary such as ``release LTO+PGO``.
"""

import gzip
import re
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple


class Build(NamedTuple):
    optimised: bool
    #: What was found, as a sentence.
    evidence: str


def describe() -> Build:
    """What is known about the running interpreter's build."""
    if sysconfig.get_config_var("Py_DEBUG"):
        return Build(False, "It is a debug build.")
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    if not describes_another_build():
        return from_arguments(arguments)
    log = Path(f"/usr/share/doc/python{sys.version_info.major}.{sys.version_info.minor}/test_results.gz")
    try:
        with gzip.open(log, "rt", encoding="utf-8", errors="replace") as lines:
            head = [line for line, _ in zip(lines, range(100), strict=False)]
    except OSError:
        return Build(
            False,
            "sysconfig describes a shared library that this executable does not use, nothing else tells.",
        )
    return from_test_log(head, sys.version)


def from_arguments(arguments: str) -> Build:
    missing = [option for option in ("--enable-optimizations", "--with-lto") if option not in arguments]
    if missing:
        return Build(False, f"Its configure arguments lack {' and '.join(missing)}.")
    return Build(True, "Configured with --enable-optimizations and --with-lto.")


def from_test_log(head: list[str], version: str) -> Build:
    """Judge by the first lines of a distribution's test log, which counts only if it is of the same build."""
    text = "".join(head)
    tested = re.search(r"^== CPython (.*)$", text, re.MULTILINE)
    kind = re.search(r"^== Python build: (.*)$", text, re.MULTILINE)
    if tested is None or kind is None or tested[1].split() != version.split():
        return Build(False, "The distribution's test log is of another build.")
    if "build-static" in head[0] and "LTO" in kind[1] and "PGO" in kind[1]:
        return Build(True, f"The distribution's test log of this build says: {kind[1].strip()}.")
    return Build(False, f"The distribution's test log says: {kind[1].strip()}.")


def describes_another_build() -> bool:
    """``sysconfig`` speaks of a shared library, but this process runs without one."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return False
    return "libpython" not in Path("/proc/self/maps").read_text()
