"""Pairs of connected sockets of every kind."""

from collections.abc import Iterator

import pytest

from ..socket_pairs import Pair, without_blocking
from .sockets import KINDS


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets of each kind."""
    with without_blocking(KINDS[request.param]()) as ends:
        yield ends
