"""The loop that a program is to find itself on: chosen by who runs it, through an environment variable."""

import asyncio
import os
import sys
from typing import Any

NAME = os.environ.get("FERRIO_TEST_LOOP") or "asyncio"

#: How a further interpreter is started on the same loop: behind ``sys.executable``.
COMMAND = ["-m", "ferrio"] if NAME == "ferrio" else []


def check(loop: Any = None) -> None:
    """Fail unless *loop*, or the one that is running, is the chosen one."""
    module = type(loop or asyncio.get_running_loop()).__module__
    assert module.partition(".")[0] == NAME, f"a loop of {module}, expected {NAME}'s"


def command(*arguments: str) -> list[str]:
    """The command of a Python program on the chosen loop."""
    return [sys.executable, *COMMAND, *arguments]
