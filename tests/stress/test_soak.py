"""The soak in short, and that it notices what it is there to notice."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SOAK, "--seed", "1", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )


def test_5000_connections_leave_nothing_behind() -> None:
    completed = soak("--connections", "5000", "--warm-up", "1000")
    assert completed.returncode == 0, completed.stdout
    for phase in ("connecting", "writing", "reading", "closing"):
        assert f"cancelled while {phase}" in completed.stdout, completed.stdout


@pytest.mark.parametrize(
    ("left", "noticed"),
    [
        ("descriptor", "FAILED descriptors grew"),
        ("handle", "Handle grew"),
        ("memory", "FAILED resident memory, KiB grew"),
    ],
)
def test_what_is_left_behind_on_purpose_is_noticed(left: str, noticed: str) -> None:
    completed = soak("--connections", "1500", "--warm-up", "200", "--leave", left)
    assert completed.returncode == 1, completed.stdout
    assert noticed in completed.stdout
