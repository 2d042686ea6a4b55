"""The ``scenario`` fixture: the same on asyncio's loop and on the loop under test, with nothing different to be seen.

``FERRIO_TEST_LOOP=asyncio`` compares asyncio's loop with itself, which shows that a scenario gives the same twice.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import ferrio
from ferrio import _tls

from .observation import Observation, Scenario, observe

LIMIT_S = 25
NAME = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
NEW_LOOP: Callable[[], asyncio.AbstractEventLoop] = ferrio.Loop if NAME == "ferrio" else asyncio.SelectorEventLoop

Play = Callable[[Scenario], Observation]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


def same_on_both(scenario: Scenario, *, debug: bool, runs_again: bool = False) -> Observation:
    """Return the observation of *scenario* on asyncio's loop; fail if the one on the loop under test differs."""
    expected = observe(scenario, asyncio.SelectorEventLoop, debug=debug, runs_again=runs_again)
    actual = observe(scenario, NEW_LOOP, debug=debug, runs_again=runs_again)
    for name, value in vars(expected).items():
        assert getattr(actual, name) == value, f"{name}: {NAME} (left) is not asyncio (right)"
    return expected


@pytest.fixture
def scenario() -> Play:
    """Plays a scenario on both loops, compares the observations, and returns asyncio's."""
    return lambda play: same_on_both(play, debug=False)


@pytest.fixture
def scenario_that_runs_again() -> Play:
    """Like ``scenario``, but runs the loop again after an exit that leaves it."""
    return lambda play: same_on_both(play, debug=False, runs_again=True)


@pytest.fixture
def scenario_in_debug() -> Play:
    """Like ``scenario``, in debug mode."""
    return lambda play: same_on_both(play, debug=True)


@pytest.fixture(params=[False, True], ids=["plain", "debug"])
def scenario_in_both_modes(request: pytest.FixtureRequest) -> Play:
    """Like ``scenario``, once in each mode."""
    return lambda play: same_on_both(play, debug=request.param)


@pytest.fixture(params=["native", "python"])
def tls_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ferrio's TLS connections have this engine, each in turn."""
    monkeypatch.setattr(_tls, "FORCED", request.param)
    return str(request.param)
