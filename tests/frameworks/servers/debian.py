"""The programs of Debian packages: found, or installed when this process may do that.

root installs what is missing with ``apt-get``; anybody else skips the test and names the package. With ``CI=true`` a
missing program is a failure. Installing starts no service of the machine.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

#: Asked by Debian's packages before they start a service; the status 101 forbids it.
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Program:
    """A program that *package* brings, in one of *folders* (patterns; the last match is the newest) or in PATH."""

    name: str
    package: str
    folders: tuple[str, ...] = ("/usr/bin", "/usr/sbin")

    def find(self) -> Path | None:
        for pattern in self.folders:
            if found := list(Path("/").glob(f"{pattern.lstrip('/')}/{self.name}")):
                # The folder of version 9 comes before that of version 15.
                return max(found, key=lambda path: (len(str(path)), path))
        inherited = shutil.which(self.name)
        return Path(inherited) if inherited else None

    def require(self) -> Path:
        """Where the program is; without it the test is skipped, in CI failed."""
        found = self.find()
        if found is None:
            reason = f"{self.name} is missing: install the Debian package {self.package}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return found


def install_missing(programs: list[Program]) -> None:
    """Install the packages of those *programs* that are not there, if this process is root's and has ``apt-get``."""
    missing = sorted({program.package for program in programs if program.find() is None})
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    _update()
    with _no_service_starts():
        _apt_get("install", "--yes", "--no-install-recommends", *missing)


@cache
def _update() -> None:
    _apt_get("update")


def _apt_get(*arguments: str) -> None:
    result = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode != 0:
        print(f"apt-get {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    if SERVICE_POLICY.exists():
        yield
        return
    SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
    SERVICE_POLICY.chmod(0o755)
    try:
        yield
    finally:
        SERVICE_POLICY.unlink()
