"""A loop for each test, sockets, a time limit, and a check of what each test leaves open."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .loops import new_loop, open_descriptors
from .socket_pairs import Pair, without_blocking

#: For one test; more where the code runs slower (`scripts/asan.py`).
LIMIT_S = float(os.environ.get("FERRIO_TEST_LIMIT_S", "20"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIMIT_S))
            # What is raised in a destructor, or in a thread, fails the test that it belongs to.
            item.add_marker(pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"))


has_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        item.stash[has_failed] = True
    return report


def left_since(before: dict[int, str]) -> dict[int, str]:
    """What has been opened and is still open, a loop's own two apart: ``test_loop_end`` looks at those."""
    now = open_descriptors().items()
    return {number: what for number, what in now if number not in before and "[event" not in what}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    before = open_descriptors()
    names = {name: getattr(asyncio, name) for name in vars(asyncio).get("__all__", ()) if "olicy" not in name}
    yield
    if has_failed in request.node.stash:
        # Its connections are open because it did not come to their end.
        gc.collect()
        return
    if left_since(before):
        gc.collect()
    assert not left_since(before), "descriptors left open"
    assert asyncio.events._get_running_loop() is None
    for name, value in names.items():
        assert getattr(asyncio, name) is value, f"asyncio.{name} was replaced"


@pytest.fixture
def contexts() -> list[dict[str, Any]]:
    """The contexts that the loop's exception handler received. A test that uses this fixture allows such calls."""
    return []


@pytest.fixture
def make_loop(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """Makes loops that are closed after the test, and whose exception handler must not be called.

    A test that asks for ``contexts`` finds the calls there instead.
    """
    expected = "contexts" in request.fixturenames
    found: list[dict[str, Any]] = request.getfixturevalue("contexts") if expected else []
    loops: list[asyncio.AbstractEventLoop] = []

    def make() -> asyncio.AbstractEventLoop:
        loop = new_loop()
        loop.set_exception_handler(lambda _, context: found.append(context))
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    loops.clear()
    if not expected:
        assert found == []


@pytest.fixture
def loop(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    """A new loop of the kind under test."""
    return make_loop()


@pytest.fixture
def stream() -> Iterator[Pair]:
    """Two connected, non-blocking stream sockets."""
    with without_blocking(socket.socketpair()) as ends:
        yield ends


@pytest.fixture
def told(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The messages that the loop's exception handler received."""
    messages: list[str] = []
    loop.set_exception_handler(lambda _loop, context: messages.append(context["message"]))
    return messages
