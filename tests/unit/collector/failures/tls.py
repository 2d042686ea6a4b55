"""TLS that fails: handshakes, certificates, broken records."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from ...socket_pairs import tcp_pair, without_blocking
from .ways import (
    HOST,
    SHORT_S,
    FailingProtocol,
    World,
    cancelled,
    expected,
    fail,
    failure,
    listening,
    reset,
    turns,
    until_closed,
)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[socket.socket], None]) -> Any:
    """The address of a server that runs *answer* for each connection and closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        answer(writer.get_extra_info("socket")._sock)
        writer.transport.abort()
        reader, writer = None, None  # type: ignore[assignment]

    server = await asyncio.start_server(handle, HOST, 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await turns()


@failure
async def handshakes_with_somebody_else(world: World) -> None:
    for answer in (reset, lambda sock: sock.send(b"HTTP/1.1 400\r\n\r\n" * 10), lambda sock: None):
        async with answering(answer) as address:
            with expected():
                await asyncio.open_connection(
                    *address, ssl=world.certificates.client_context(), server_hostname="localhost"
                )
            await turns()


@contextlib.asynccontextmanager
async def tls_server(world: World) -> Any:
    """The address of a TLS server."""
    server = await world.loop.create_server(asyncio.Protocol, HOST, 0, ssl=world.certificates.server_context())
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await turns()


@failure
async def certificates_that_are_not_believed(world: World) -> None:
    async with tls_server(world) as address:
        for context, name in (
            (ssl.create_default_context(), "localhost"),
            (world.certificates.client_context(), "example.org"),
        ):
            with expected():
                await world.loop.create_connection(asyncio.Protocol, *address, ssl=context, server_hostname=name)
            await asyncio.sleep(SHORT_S)


@failure
async def handshakes_that_are_given_up(world: World) -> None:
    context = world.certificates.client_context()
    with listening() as (_, address):
        with expected():
            await world.loop.create_connection(
                asyncio.Protocol, *address, ssl=context, server_hostname="x", ssl_handshake_timeout=SHORT_S
            )
        for count in range(2, 8):
            await cancelled(
                world.loop.create_connection(asyncio.Protocol, *address, ssl=context, server_hostname="x"), count
            )
            await turns()


@failure
async def clients_that_do_not_speak_tls(world: World) -> None:
    async with tls_server(world) as address:
        for before in (reset, lambda sock: sock.send(b"GET / HTTP/1.0\r\n\r\n"), lambda sock: None):
            with socket.create_connection(address) as client:
                await turns()
                before(client)
                await turns()
            await turns()


@failure
async def start_tls_with_nobody(world: World) -> None:
    context = world.certificates.client_context()
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, protocol = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        with expected():
            await world.loop.start_tls(transport, protocol, context, server_hostname="x", ssl_handshake_timeout=SHORT_S)
        await until_closed(transport)
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, protocol = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        reset(theirs)
        theirs.close()
        with expected():
            await world.loop.start_tls(transport, protocol, context, server_hostname="x")
        await until_closed(transport)


@failure
async def tls_protocols_that_fail(world: World) -> None:
    async with tls_server(world) as address:
        for make in (fail, lambda: FailingProtocol("connection_made"), lambda: FailingProtocol("connection_lost")):
            with expected():
                transport, _ = await world.loop.create_connection(
                    make, *address, ssl=world.certificates.client_context(), server_hostname="localhost"
                )
                await until_closed(transport)
            await asyncio.sleep(SHORT_S)
