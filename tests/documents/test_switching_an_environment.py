"""What docs/questions.md says about ``sitecustomize`` switches an environment, by the variable and no further."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "questions.md"
PROGRAM = """
import asyncio

async def main():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(asyncio.run(main()))
"""
OF_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROGRAM!r}], check=True)"


@pytest.mark.parametrize("program", [PROGRAM, OF_A_CHILD], ids=["the-program", "a-child"])
@pytest.mark.parametrize(("value", "loop"), [("1", "ferrio"), ("0", "asyncio"), (None, "asyncio")])
def test_the_variable_decides_on_which_loop_a_program_runs(
    value: str | None, loop: str, program: str, tmp_path: Path
) -> None:
    block = re.search(r"^```python\n((?:(?!^```).)*FERRIO_INSTALL.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block
    (tmp_path / "sitecustomize.py").write_text(block[1])
    environment = {name: text for name, text in os.environ.items() if name != "FERRIO_INSTALL"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [environment.get("PYTHONPATH")])])
    if value is not None:
        environment["FERRIO_INSTALL"] = value
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == (f"{loop}\n", "")
