"""TCP or TLS, descriptors enough for 500 connections at both ends, and a time limit on every test."""

import resource
from pathlib import Path

import pytest

#: Both ends of 500 connections, and room to spare.
DESCRIPTORS = 4096
LIMIT_S = 45


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture(scope="session", autouse=True)
def _enough_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))


@pytest.fixture(params=["tcp", "tls"])
def secure(request: pytest.FixtureRequest) -> bool:
    """Whether the test's connections are over TLS."""
    return bool(request.param == "tls")
