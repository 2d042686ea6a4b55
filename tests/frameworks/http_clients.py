"""aiohttp and httpx behind the few calls that the tests of a service make with either."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import httpx

NAMES = ["aiohttp", "httpx"]

#: Seconds for one request; far above what a correct one takes on a busy machine.
LIMIT_S = 20.0


class Client(Protocol):
    async def request(self, method: str, path: str, *, params: dict[str, Any] = ..., body: bytes | None = ...) -> bytes:
        """The body of a response that must have status 200."""

    async def chunks(self, path: str, *, params: dict[str, Any]) -> list[bytes]:
        """The body of a response as it arrived."""


class _Aiohttp:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: bytes | None = None
    ) -> bytes:
        async with self._session.request(method, path, params=params, data=body) as response:
            assert response.status == 200
            return await response.read()

    async def chunks(self, path: str, *, params: dict[str, Any]) -> list[bytes]:
        async with self._session.get(path, params=params) as response:
            assert response.status == 200
            return [chunk async for chunk in response.content.iter_any()]


class _Httpx:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: bytes | None = None
    ) -> bytes:
        response = await self._client.request(method, path, params=params, content=body)
        assert response.status_code == 200
        return response.content

    async def chunks(self, path: str, *, params: dict[str, Any]) -> list[bytes]:
        async with self._client.stream("GET", path, params=params) as response:
            assert response.status_code == 200
            return [chunk async for chunk in response.aiter_raw()]


@asynccontextmanager
async def open_client(name: str, base: str, tls: ssl.SSLContext, *, connections: int = 100) -> AsyncIterator[Client]:
    """A client for the service at *base*, keeping at most *connections* open."""
    if name == "aiohttp":
        connector = aiohttp.TCPConnector(limit=connections, ssl=tls)
        timeout = aiohttp.ClientTimeout(total=LIMIT_S)
        async with aiohttp.ClientSession(base, connector=connector, timeout=timeout) as session:
            yield _Aiohttp(session)
    else:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        async with httpx.AsyncClient(
            base_url=base, verify=tls, limits=limits, timeout=LIMIT_S, trust_env=False
        ) as client:
            yield _Httpx(client)


async def get_json(client: Client, path: str, **params: Any) -> Any:
    return json.loads(await client.request("GET", path, params=params))
