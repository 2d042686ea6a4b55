"""Every program in README.md and docs/ runs as it stands there.

A block in Python is a program of its own. One that serves is stopped once its port answers; one for pytest is the
`conftest.py` of a test that looks at its loop. Port 8000 becomes a free one.
"""

import ast
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LIMIT_S = 60.0

#: In a comment of a program that needs it.
NEEDED = re.compile(r"# Python 3\.(\d+) and newer")

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

OF_PYTEST = """
import asyncio

import ferrio
import pytest

mark = pytest.mark.anyio if {anyio} else pytest.mark.asyncio


@mark
async def test_its_loop():
    assert isinstance(asyncio.get_running_loop(), ferrio.Loop)
"""

#: What an older release of pytest-asyncio takes, and newer ones warn of.
OF_OLDER_RELEASES = "def event_loop_policy"


def blocks() -> list[object]:
    return [
        pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}")
        for page in PAGES
        for text in [page.read_text()]
        for match in BLOCK.finditer(text)
    ]


def run(folder: Path, *command: str) -> None:
    environment = os.environ | {"PYTHONWARNINGS": "default", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def serve(program: Path, port: int) -> None:
    """Run *program* until its port answers, then interrupt it: it has to end by that."""
    process = subprocess.Popen([sys.executable, program], cwd=program.parent, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + LIMIT_S
        while process.poll() is None and time.monotonic() < limit:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    # A program that leaves the interrupt to the interpreter ends with its traceback.
    assert "Traceback" not in errors or errors.splitlines()[-1].startswith("KeyboardInterrupt"), errors


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.mark.parametrize("source", blocks())
def test_it_runs(source: str, tmp_path: Path, port: int) -> None:
    source = textwrap.dedent(source)
    if (needed := NEEDED.search(source)) and sys.version_info < (3, int(needed[1])):
        pytest.skip(f"for Python 3.{needed[1]} and newer, as it says")
    try:
        compile(source, "program.py", "exec")
    except SyntaxError:
        # A piece of a coroutine, shown beside the same in Rust, has to compile as that.
        compile(source, "program.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return
    if "import pytest" in source or "def pytest_" in source:
        if OF_OLDER_RELEASES in source:
            compile(source, "conftest.py", "exec")
            return
        (tmp_path / "conftest.py").write_text(source)
        (tmp_path / "test_loop.py").write_text(OF_PYTEST.format(anyio="anyio_backend" in source))
        plugin = "anyio.pytest_plugin" if "anyio_backend" in source else "pytest_asyncio.plugin"
        run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", plugin)
        return
    program = tmp_path / "program.py"
    program.write_text(source.replace("8000", str(port)))
    if "8000" in source:
        serve(program, port)
    else:
        run(tmp_path, str(program))
