"""Single failed allocations of the interpreter: see ``failing_allocations.py``, which tries each of them."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .loops_compared import NAME

pytest.importorskip("_testcapi", reason="this interpreter has no module to make allocations fail with")

from . import failing_allocations

PROGRAM = Path(__file__).with_name("failing_allocations.py")
#: Allocations of each scenario that fail here; the program without --points tries all.
POINTS = 8
LIMIT_S = 2.0

Runs = dict[str, "Future[subprocess.CompletedProcess[str]]"]

pytestmark = pytest.mark.skipif(NAME == "asyncio", reason="asyncio's loop is left running by some of them")


#: Scenarios at a time: they wait more than they compute.
AT_A_TIME = 4


def run(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--scenario", name, "--points", str(POINTS), "--limit", str(LIMIT_S)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    chosen = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {name: pool.submit(run, name) for name in chosen}


@pytest.mark.parametrize("name", failing_allocations.NAMES)
def test_a_failed_allocation_leaves_a_loop_that_works(name: str, runs: Runs) -> None:
    ran = runs[name].result()
    assert ran.returncode == 0, ran.stdout + ran.stderr
