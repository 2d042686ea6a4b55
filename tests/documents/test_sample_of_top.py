"""What docs/watching.md shows of ``python -m ferrio top`` is what that writes about the program above it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "watching.md"
LIMIT_S = 60.0

SECTION = re.compile(
    r"^## Live, in a terminal\n.*?^```python\n(?P<program>.*?)^```\n\n^```\n(?P<sample>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def without_what_varies(text: str) -> str:
    """Without figures, units, folders and alignment: what is left is what is shown, and in which order."""
    text = re.sub(r'"/[^"]*/', '"', text)
    text = re.sub(r"0x[0-9a-f]+", "N", text)
    text = re.sub(r"CPython \S+, Ferrio \S+", "CPython N, Ferrio N", text)
    text = re.sub(r"\d[\d.]*( ?([mu]?s|B|KiB|MiB)\b)?", "N", text)
    return "\n".join(re.sub(r" +", " ", line.strip()) for line in text.splitlines())


def test_the_sample_is_what_top_writes(tmp_path: Path) -> None:
    found = SECTION.search(PAGE.read_text())
    assert found is not None
    (tmp_path / "app.py").write_text(found["program"])
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=tmp_path, stdin=subprocess.PIPE, env=os.environ | {"FERRIO_INSPECT": "1"}
    )
    try:
        command = [sys.executable, "-m", "ferrio", "top", "--once", str(process.pid)]
        text, limit = "", time.monotonic() + LIMIT_S
        # Until every task sleeps at the moment of the look, or the machine leaves no such moment.
        while without_what_varies(text) != without_what_varies(found["sample"]) and time.monotonic() < limit:
            text = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False).stdout
        assert without_what_varies(text) == without_what_varies(found["sample"])
    finally:
        process.kill()
        process.communicate()
