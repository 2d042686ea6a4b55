"""Pairs of connected sockets."""

import socket
from collections.abc import Iterator

import pytest

from .sockets import KINDS, Pair


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets of each kind."""
    ends = KINDS[request.param]()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def stream() -> Iterator[Pair]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()
