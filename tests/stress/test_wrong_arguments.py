"""Wrong arguments without memory: see ``wrong_arguments.py``, which calls everything native with them."""

import subprocess
import sys
from pathlib import Path

import pytest

from .loops_compared import NAME

pytest.importorskip("_testcapi", reason="this interpreter has no module to make allocations fail with")

PROGRAM = Path(__file__).with_name("wrong_arguments.py")

pytestmark = pytest.mark.skipif(NAME == "asyncio", reason="calls what is native in Ferrio")


def test_a_wrong_argument_without_memory_is_an_exception() -> None:
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-200:] + ran.stderr
    assert "panick" not in ran.stderr, ran.stderr
