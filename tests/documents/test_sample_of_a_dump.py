"""What docs/watching.md shows of ``python -m ferrio dump`` is what that writes about the program above it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "watching.md"
LIMIT_S = 60.0

PROGRAM_AND_SAMPLE = re.compile(
    r"^```python\n(?P<program>(?:(?!^```).)*)^```\n\n^```\n(?P<sample>process (?:(?!^```).)*)^```$",
    re.MULTILINE | re.DOTALL,
)

#: What differs from run to run, or by version.
VARYING = (
    (re.compile(r"^process \d+"), "process N"),
    (re.compile(r"CPython \S+, Ferrio \S+"), "CPython N, Ferrio N"),
    (re.compile(r" at 0x[0-9a-f]+"), " at N"),
    (re.compile(r'(?<=")/[^"]*/(?=app\.py")'), ""),
    (re.compile(r"(?<=timer_lag )[\d.]+"), "N"),
    # One callback more from the second look on: what it had looked at is left to the loop.
    (re.compile(r"(?<=now: ready )\d+"), "N"),
)


def without_what_varies(text: str) -> str:
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


def test_the_sample_is_what_dump_writes(tmp_path: Path) -> None:
    found = PROGRAM_AND_SAMPLE.search(PAGE.read_text())
    assert found is not None
    (tmp_path / "app.py").write_text(found["program"])
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=tmp_path, stdin=subprocess.PIPE, env=os.environ | {"FERRIO_INSPECT": "1"}
    )
    try:
        command = [sys.executable, "-m", "ferrio", "dump", str(process.pid)]
        text, limit = "", time.monotonic() + LIMIT_S
        # Until the program has come to the line that blocks.
        while "sys.stdin.readline()" not in text and time.monotonic() < limit:
            text = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False).stdout
        assert without_what_varies(text) == without_what_varies(found["sample"])
        process.communicate(b"\n", timeout=LIMIT_S)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
