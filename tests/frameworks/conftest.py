"""TCP or TLS, servers, descriptors enough for 500 connections at both ends, and a time limit on every test."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificates import Certificates
from .servers import debian, nginx, postgresql, redis

#: Both ends of 500 connections, and room to spare.
DESCRIPTORS = 4096
LIMIT_S = 45

#: The Debian programs behind the fixtures of the same names.
PROGRAMS = {
    "postgresql_server": postgresql.PROGRAM,
    "redis_server": redis.PROGRAM,
    "nginx_server": nginx.PROGRAM,
    "curl": debian.Program("curl", "curl"),
    # Debian has several programs called nc.
    "nc": debian.Program("nc.openbsd", "netcat-openbsd"),
    "openssl": debian.Program("openssl", "openssl"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what the chosen tests need, outside of any test's time."""
    if not session.config.option.collectonly:
        wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
        debian.install_missing([program for name, program in PROGRAMS.items() if name in wanted])


@pytest.fixture(scope="session", autouse=True)
def _enough_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))


@pytest.fixture(params=["tcp", "tls"])
def secure(request: pytest.FixtureRequest) -> bool:
    """Whether the test's connections are over TLS."""
    return bool(request.param == "tls")


@pytest.fixture(scope="package")
def postgresql_server(certificates: Certificates) -> Iterator[postgresql.PostgreSQL]:
    with postgresql.postgresql(certificates) as server:
        yield server


@pytest.fixture(scope="package")
def redis_server(certificates: Certificates) -> Iterator[redis.Redis]:
    with redis.redis_server(certificates) as server:
        yield server


@pytest.fixture(scope="package")
def nginx_server(certificates: Certificates) -> Iterator[nginx.Nginx]:
    with nginx.nginx(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def curl() -> Path:
    """Where curl is."""
    return PROGRAMS["curl"].require()


@pytest.fixture(scope="session")
def nc() -> Path:
    """Where OpenBSD's netcat is."""
    return PROGRAMS["nc"].require()


@pytest.fixture(scope="session")
def openssl() -> str:
    """Where OpenSSL's program is."""
    return str(PROGRAMS["openssl"].require())
