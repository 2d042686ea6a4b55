"""The namespaces whose streams are compared: each test runs with asyncio's classes and with Ferrio's."""

import asyncio
from typing import Any

import pytest

import ferrio.asyncio


@pytest.fixture(params=[asyncio, ferrio.asyncio], ids=["asyncio", "ferrio"])
def ours(request: pytest.FixtureRequest) -> Any:
    return request.param
