"""The pytest plugin: virtual time, and tests that leave nothing behind. It does nothing before a test asks for it.

It changes the coroutine function of a test, and no other plugin: whichever runs the test (pytest-asyncio, anyio's, one
of a framework), the changed function takes hold of the running loop. Fixtures are set up and torn down in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

import pytest

from ._leaks import Leaks
from ._virtual_clock import VirtualClock

__all__ = ["no_leaks", "virtual_clock"]

_MARKERS = (
    "virtual_time(start=None, ...): the test's loop, one of Ferrio's, has a virtual clock. The arguments are those of "
    "ferrio.testing.VirtualClock.",
    "no_leaks(except_for=()): the test fails if it leaves tasks, transports, descriptors or threads behind, apart from "
    "the kinds that except_for names.",
)
_CLOCK = pytest.StashKey[VirtualClock]()
_LEAKS = pytest.StashKey[Leaks]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The marker ``no_leaks`` stands for the fixture."""
    for item in items:
        names = getattr(item, "fixturenames", None)
        if names is not None and "no_leaks" not in names and item.get_closest_marker("no_leaks"):
            names.append("no_leaks")


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> VirtualClock:
    """The virtual clock of the test, which has one by this fixture as by the marker ``virtual_time``."""
    return _clock(request.node)


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> None:
    """The test fails if it leaves tasks, transports, descriptors or threads behind, and says where each was made.

    What wider fixtures have made is there before. The look for tasks and transports is at the end of the test's
    coroutine, the one for descriptors and threads behind the teardown of its fixtures.
    """
    marker = request.node.get_closest_marker("no_leaks")
    request.node.stash[_LEAKS] = Leaks(*marker.args, **marker.kwargs) if marker else Leaks()


def _clock(item: pytest.Item) -> VirtualClock:
    if _CLOCK not in item.stash:
        marker = item.get_closest_marker("virtual_time")
        item.stash[_CLOCK] = VirtualClock(*marker.args, **marker.kwargs) if marker else VirtualClock()
    return item.stash[_CLOCK]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Changes the coroutine function of the test before the plugins that run it look at it."""
    leaks = item.stash.get(_LEAKS, None)
    has_clock = _CLOCK in item.stash or item.get_closest_marker("virtual_time") is not None
    if leaks is None and not has_clock:
        return (yield)
    # Hypothesis calls the test that it was given.
    holder, name = item, "obj"
    if hasattr(getattr(item, "obj", None), "hypothesis"):
        holder, name = item.obj.hypothesis, "inner_test"  # type: ignore[attr-defined]
    function = getattr(holder, name, None)
    if function is None or not inspect.iscoroutinefunction(function):
        # Such a test gives the clock of the fixture to a loop itself.
        return (yield)
    setattr(holder, name, _within(function, _clock(item) if has_clock else None, leaks))
    try:
        return (yield)
    finally:
        setattr(holder, name, function)


def _within(function: Callable[..., Any], clock: VirtualClock | None, leaks: Leaks | None) -> Callable[..., Any]:
    @functools.wraps(function)
    async def test(*args: Any, **kwargs: Any) -> Any:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pytest.fail("virtual_time and no_leaks are for tests on an asyncio loop", pytrace=False)
        in_loop = None if leaks is None else leaks.of_loop(loop)
        with contextlib.nullcontext() if clock is None else clock.attached(loop):
            result = await function(*args, **kwargs)
            left = [] if in_loop is None else await in_loop.left()
        if left:
            pytest.fail(_report("the test", left), pytrace=False)
        return result

    return test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Looks for what is left when the fixtures of the test are gone."""
    try:
        result = yield
    finally:
        leaks = item.stash.get(_LEAKS, None)
        left = []
        if leaks is not None:
            del item.stash[_LEAKS]
            left = leaks.left()
    if left:
        pytest.fail(_report("the test and its fixtures", left), pytrace=False)
    return result


def _report(who: str, left: list[str]) -> str:
    return f"{who} left behind:\n" + "\n".join(f"  {each}" for each in left)
