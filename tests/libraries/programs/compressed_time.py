"""looptime compresses the time of tests that ask for it, and leaves the others alone."""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import loop_under_test

TESTS = """
    import asyncio, time, pytest, loop_under_test

    def test_a_program_runs():
        async def main():
            loop_under_test.check()
            return await asyncio.sleep(0.01, "slept")
        assert asyncio.run(main()) == "slept"

    @pytest.mark.asyncio
    async def test_a_coroutine_runs():
        before = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - before >= 0.05

    @pytest.mark.asyncio
    @pytest.mark.looptime
    async def test_an_hour_is_over_at_once(looptime):
        bases = type(asyncio.get_running_loop()).__mro__
        assert loop_under_test.NAME in {base.__module__.partition(".")[0] for base in bases}
        before = time.monotonic()
        await asyncio.sleep(3600)
        assert looptime == 3600
        assert time.monotonic() - before < 600
"""

with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "test_program.py").write_text(textwrap.dedent(TESTS))
    arguments = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", folder, folder]
    done = subprocess.run(
        loop_under_test.command("-m", "pytest", "-o", f"pythonpath={Path(__file__).parent}", *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout, done.stdout
    sys.stdout.write(done.stdout)
