"""Methods of a loop under ``unittest.mock``, which asks a method what it is."""

import asyncio
import inspect
import sys
from typing import Any
from unittest import mock

import pytest

Loop = asyncio.AbstractEventLoop

RAW_SOCKETS = [
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
]


@pytest.mark.parametrize("name", RAW_SOCKETS)
def test_methods_of_raw_sockets_are_coroutine_functions(loop: Loop, name: str) -> None:
    method = getattr(loop, name)
    if sys.version_info < (3, 14):
        assert asyncio.iscoroutinefunction(method)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(method)
    expected = inspect.signature(getattr(asyncio.SelectorEventLoop, name)).parameters
    assert list(inspect.signature(method).parameters) == list(expected)[1:]


@pytest.mark.parametrize("name", RAW_SOCKETS)
@pytest.mark.parametrize("options", [{}, {"autospec": True}], ids=["plain", "autospec"])
def test_a_mock_of_a_method_of_raw_sockets_can_be_awaited(loop: Loop, name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        with mock.patch.object(loop, name, return_value=b"mocked", **options) as mocked:
            arguments = [object()] * (1 if name == "sock_accept" else 3 if name == "sock_sendto" else 2)
            assert await getattr(loop, name)(*arguments) == b"mocked"
            mocked.assert_awaited_once_with(*arguments)

    loop.run_until_complete(main())
