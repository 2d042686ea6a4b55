"""Ferrio's pytest plugin, over pytest-asyncio and anyio's plugin, in projects of their own."""

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .loop_under_test import NAME

pytestmark = pytest.mark.skipif(NAME != "ferrio", reason="the plugin is for Ferrio's loop")

# A development environment without Ferrio's metadata has no entry point.
ENTERED = any(point.name == "ferrio" for point in importlib.metadata.entry_points(group="pytest11"))
PLUGIN = [] if ENTERED else ["-p", "ferrio.testing.pytest_plugin"]

PYTEST_ASYNCIO = """
    import ferrio

    def pytest_asyncio_loop_factories(config, item):
        return {"ferrio": ferrio.new_event_loop}
"""
ANYIO = """
    import ferrio, pytest

    @pytest.fixture
    def anyio_backend():
        return "asyncio", {"loop_factory": ferrio.new_event_loop}
"""
plugins = pytest.mark.parametrize(
    ("conftest", "options"),
    [(PYTEST_ASYNCIO, ["-o", "asyncio_mode=auto"]), (ANYIO, ["-p", "no:asyncio", "-o", "anyio_mode=auto"])],
    ids=["pytest-asyncio", "anyio"],
)


def run_pytest(folder: Path, conftest: str, options: list[str], tests: str) -> tuple[dict[str, int], str]:
    """How many tests passed, failed and so on in a project of these files; the output."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (folder / "conftest.py").write_text(textwrap.dedent(conftest))
    (folder / "test_project.py").write_text(textwrap.dedent(tests))
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore", *PLUGIN, *options]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    summary = done.stdout.strip().splitlines()[-1].partition(" in ")[0].split(", ")
    counts = {}
    for part in summary:
        count, _, outcome = part.strip("= ").partition(" ")
        counts[outcome.rstrip("s")] = int(count)
    return counts, done.stdout


VIRTUAL = """
    import asyncio, time, pytest

    @pytest.mark.virtual_time
    async def test_an_hour_is_over_at_once():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(3600)
        assert loop.time() == began + 3600

    @pytest.mark.virtual_time(start=100)
    async def test_a_clock_has_a_start(virtual_clock):
        await asyncio.sleep(5)
        assert asyncio.get_running_loop().time() == virtual_clock.time() == 105
        assert virtual_clock.elapsed == 5

    async def test_the_fixture_is_enough(virtual_clock):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 60)
        assert virtual_clock.elapsed == 60

    @pytest.mark.virtual_time(automatic=False)
    @pytest.mark.parametrize("seconds", [1, 2])
    async def test_a_clock_is_moved_by_hand(virtual_clock, seconds):
        task = asyncio.create_task(asyncio.sleep(seconds))
        await virtual_clock.run_for(seconds)
        await task

    class TestMethods:
        @pytest.mark.virtual_time
        async def test_a_method(self):
            await asyncio.sleep(3600)

    async def test_others_take_real_time():
        before = time.monotonic()
        await asyncio.sleep(0.02)
        assert time.monotonic() - before >= 0.02

    def test_a_function_gives_the_clock_to_a_loop_itself(virtual_clock):
        import ferrio
        ferrio.run(asyncio.sleep(7), clock=virtual_clock)
        assert virtual_clock.time() == 7

    @pytest.mark.virtual_time
    async def test_that_waits_for_ever():
        await asyncio.get_running_loop().create_future()
"""


@plugins
def test_marked_tests_run_in_virtual_time(tmp_path: Path, conftest: str, options: list[str]) -> None:
    counts, output = run_pytest(tmp_path, conftest, options, VIRTUAL)
    assert counts == {"passed": 8, "failed": 1}, output
    assert "WaitsForEver: The program waits for ever" in output


LEAKING = """
    import asyncio, os, socket, threading, pytest

    pytestmark = pytest.mark.no_leaks
    kept = []

    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def test_nothing_is_left():
        task = asyncio.create_task(asyncio.sleep(0))
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await task
        await asyncio.to_thread(int)

    async def test_a_cancelled_task_may_come_to_its_end():
        asyncio.create_task(asyncio.sleep(3600)).cancel()

    async def forgotten():
        await asyncio.Event().wait()

    async def test_task():
        kept.append(asyncio.create_task(forgotten(), name="left"))  # the task

    async def test_transport():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        kept.append(await asyncio.open_connection(*server.sockets[0].getsockname()))  # the transport
        server.close()

    def test_descriptor():
        kept.append(socket.socket())  # the socket
        kept.append(open(os.devnull))  # the file

    def test_thread():
        thread = threading.Thread(target=threading.Event().wait, daemon=True, name="lasting")  # the thread
        thread.start()

    @pytest.fixture
    def opened():
        with socket.socket() as sock:
            yield sock

    def test_what_its_fixtures_close_is_not_left(opened):
        pass

    @pytest.mark.no_leaks(except_for=["descriptors"])
    def test_it_looks_for_what_it_is_told():
        kept.append(socket.socket())
"""


@plugins
def test_what_a_test_leaves_behind_is_named_with_the_place(tmp_path: Path, conftest: str, options: list[str]) -> None:
    counts, output = run_pytest(tmp_path, conftest, options, LEAKING)
    lines = textwrap.dedent(LEAKING).splitlines()

    def place(comment: str) -> str:
        (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {comment}")]
        return f"made at {tmp_path}/test_project.py:{number}"

    assert f"the task 'left' of forgotten, {place('the task')}" in output
    # tracemalloc of Python 3.11 does not find instances that have a dictionary.
    finds_instances = sys.version_info >= (3, 12)
    transport, thread = (f", {place(what)}" if finds_instances else "" for what in ("the transport", "the thread"))
    assert any("the transport <" in line and line.endswith(transport) for line in output.splitlines()), output
    assert any("the descriptor" in line and place("the socket") in line for line in output.splitlines()), output
    assert any(os.devnull in line and place("the file") in line for line in output.splitlines()), output
    assert f"the thread 'lasting'{thread}\n" in output
    # Those that are left open by a coroutine fail; the others are found behind their teardown.
    assert counts["failed"] == 2, output
    assert counts["passed"] == 6, output
    assert counts["error"] >= 2, output


def test_the_plugin_does_nothing_unasked(tmp_path: Path) -> None:
    tests = """
        import asyncio, socket, tracemalloc

        kept = []

        async def test_plain():
            kept.append(socket.socket())
            kept.append(asyncio.create_task(asyncio.sleep(3600)))
            assert not tracemalloc.is_tracing()
    """
    counts, output = run_pytest(tmp_path, PYTEST_ASYNCIO, ["-o", "asyncio_mode=auto"], tests)
    assert counts == {"passed": 1}, output


def test_no_leaks_works_on_a_loop_of_asyncios(tmp_path: Path) -> None:
    tests = """
        import asyncio, pytest

        kept = []

        async def test_task(no_leaks):
            kept.append(asyncio.create_task(asyncio.sleep(3600), name="left"))  # line 7

        async def test_nothing(no_leaks):
            await asyncio.create_task(asyncio.sleep(0))
    """
    counts, output = run_pytest(tmp_path, "", ["-o", "asyncio_mode=auto"], tests)
    assert counts == {"passed": 1, "failed": 1}, output
    assert f"the task 'left' of sleep, made at {tmp_path}/test_project.py:7" in output


def test_a_loop_of_asyncios_is_refused_with_the_reason(tmp_path: Path) -> None:
    tests = """
        import pytest

        @pytest.mark.virtual_time
        async def test_marked():
            pass
    """
    counts, output = run_pytest(tmp_path, "", ["-o", "asyncio_mode=auto"], tests)
    assert counts == {"failed": 1}, output
    assert "a virtual clock needs a loop of Ferrio's" in output
