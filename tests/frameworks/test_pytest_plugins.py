"""Loop factories for pytest-asyncio, for anyio's pytest plugin and for unittest, in projects of their own."""

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .loop_under_test import NAME

ASSERTION = f"""
import asyncio

def assert_expected_loop():
    module = type(asyncio.get_running_loop()).__module__
    assert module.partition(".")[0] in {{{NAME!r}, {"_" + NAME!r}}}, module
"""


def run_project(folder: Path, *arguments: str, **files: str) -> str:
    """The output of pytest in a project of *files* (module name: source) that must pass."""
    (folder / "expected_loop.py").write_text(ASSERTION)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    for name, source in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=40,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
    return completed.stdout


TESTS_FOR_PYTEST_ASYNCIO = """
    import asyncio

    import pytest
    import pytest_asyncio
    from expected_loop import assert_expected_loop

    @pytest_asyncio.fixture
    async def server():
        assert_expected_loop()
        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    @pytest_asyncio.fixture(loop_scope="module", scope="module")
    async def shared_loop():
        return asyncio.get_running_loop()

    @pytest.mark.asyncio
    async def test_the_fixture_and_the_test_share_a_loop(server):
        assert_expected_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", server)
        writer.write(b"line\\n")
        assert await reader.readline() == b"line\\n"
        writer.close()
        await writer.wait_closed()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_a_loop_can_last_for_a_module(shared_loop):
        assert_expected_loop()
        assert asyncio.get_running_loop() is shared_loop

    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", range(3))
    async def test_parametrized(number):
        assert await asyncio.wait_for(asyncio.sleep(0, number), 5) == number
"""


def test_pytest_asyncio_takes_a_loop_factory_from_its_hook(tmp_path: Path) -> None:
    version = tuple(map(int, importlib.metadata.version("pytest-asyncio").split(".")[:2]))
    assert version >= (1, 4), "the hook came with pytest-asyncio 1.4"
    output = run_project(
        tmp_path,
        "-v",
        conftest=f"""
            import {NAME}

            def pytest_asyncio_loop_factories(config, item):
                return {{{NAME!r}: {NAME}.new_event_loop}}
        """,
        test_project=TESTS_FOR_PYTEST_ASYNCIO,
    )
    assert "5 passed" in output


def test_pytest_asyncio_takes_a_policy_from_its_fixture(tmp_path: Path) -> None:
    policy = "ferrio.EventLoopPolicy()" if NAME == "ferrio" else "asyncio.DefaultEventLoopPolicy()"
    output = run_project(
        tmp_path,
        conftest=f"""
            import asyncio
            import warnings

            import pytest
            import {NAME}

            @pytest.fixture(scope="session")
            def event_loop_policy():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    return {policy}
        """,
        test_project=TESTS_FOR_PYTEST_ASYNCIO,
    )
    assert "5 passed" in output


@pytest.mark.parametrize("other_plugin", ["with pytest-asyncio", "alone"])
def test_anyios_plugin_takes_a_loop_factory_from_its_backend(tmp_path: Path, other_plugin: str) -> None:
    output = run_project(
        tmp_path,
        *(["-p", "no:asyncio"] if other_plugin == "alone" else []),
        conftest=f"""
            import pytest
            import {NAME}

            @pytest.fixture
            def anyio_backend():
                return "asyncio", {{"loop_factory": {NAME}.new_event_loop}}
        """,
        test_project="""
            import asyncio

            import anyio
            import pytest
            from expected_loop import assert_expected_loop

            pytestmark = pytest.mark.anyio

            @pytest.fixture
            async def listener():
                assert_expected_loop()
                async def echo(stream):
                    async with stream:
                        await stream.send(await stream.receive())
                async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
                    async with anyio.create_task_group() as group:
                        group.start_soon(listener.serve, echo)
                        yield listener.extra(anyio.abc.SocketAttribute.local_port)
                        group.cancel_scope.cancel()

            async def test_the_fixture_and_the_test_share_a_loop(listener):
                assert_expected_loop()
                async with await anyio.connect_tcp("127.0.0.1", listener) as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"hello"

            async def test_timeouts_work():
                with anyio.move_on_after(0.01) as scope:
                    await anyio.sleep_forever()
                assert scope.cancelled_caught

            async def test_context_is_shared_with_the_loop():
                assert asyncio.current_task() is not None
        """,
    )
    assert "3 passed" in output


@pytest.mark.skipif(sys.version_info < (3, 13), reason="IsolatedAsyncioTestCase has no loop_factory before 3.13")
def test_unittest_takes_a_loop_factory_from_its_test_case(tmp_path: Path) -> None:
    output = run_project(
        tmp_path,
        test_project=f"""
            import asyncio
            import unittest

            import {NAME}
            from expected_loop import assert_expected_loop

            class TestCase(unittest.IsolatedAsyncioTestCase):
                loop_factory = staticmethod({NAME}.new_event_loop)

                async def asyncSetUp(self):
                    assert_expected_loop()
                    self.queue = asyncio.Queue()

                async def test_the_set_up_and_the_test_share_a_loop(self):
                    assert_expected_loop()
                    await self.queue.put(1)
                    self.assertEqual(await self.queue.get(), 1)
        """,
    )
    assert "1 passed" in output
