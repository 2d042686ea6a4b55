"""Where a figure comes from: the machine, the interpreter, the versions."""

import datetime
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import loops

from . import interpreter
from .programs import ROOT


def facts(names: list[str]) -> dict[str, object]:
    """Everything a reader needs to judge or repeat the figures of the loops *names*."""
    build = interpreter.describe()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "hypervisor": "hypervisor" in cpu_field("flags").split(),
            "kernel": f"{platform.system()} {platform.release()}",
            "load_average": os.getloadavg()[0],
        },
        "python": {
            "version": platform.python_version(),
            "build": " ".join(sys.version.split()),
            "optimised": build.optimised,
            "evidence": build.evidence,
            "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
            "config_args": sysconfig.get_config_var("CONFIG_ARGS"),
        },
        "versions": {name: loops.version(name) for name in names if name != "asyncio"},
        "commit": commit(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("FERRIO_")},
    }


def cpu_field(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def cpu_model() -> str:
    return cpu_field("model name") or platform.machine()


def commit() -> str | None:
    """The commit of the checkout, with a plus sign when tracked files differ from it."""
    try:
        name = git("rev-parse", "--short=12", "HEAD")
        return name + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def git(*arguments: str) -> str:
    # The checkout may belong to another user than the one who measures.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
