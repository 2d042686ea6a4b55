"""Single failed allocations of the interpreter: see ``failing_allocations.py``, which tries each of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from .loops_compared import NAME

pytest.importorskip("_testcapi", reason="this interpreter has no module to make allocations fail with")

from . import failing_allocations

PROGRAM = Path(__file__).with_name("failing_allocations.py")
#: Allocations of each scenario that fail here; the program without --points tries all.
POINTS = 16
LIMIT_S = 6.0

pytestmark = pytest.mark.skipif(NAME == "asyncio", reason="asyncio's loop is left running by some of them")


@pytest.mark.parametrize("name", failing_allocations.NAMES)
def test_a_failed_allocation_leaves_a_loop_that_works(name: str) -> None:
    command = [sys.executable, PROGRAM, "--scenario", name, "--points", str(POINTS), "--limit", str(LIMIT_S)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
