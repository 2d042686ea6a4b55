"""Connections that are not made, or whose protocol fails."""

import asyncio
import socket
import sys
from typing import Any

from ...socket_pairs import tcp_pair, without_blocking
from .ways import (
    HOST,
    METHODS,
    SHORT_S,
    FailingProtocol,
    World,
    cancelled,
    crowded,
    expected,
    fail,
    failure,
    listening,
    refused_port,
    timed_out,
    turns,
    until_closed,
)


@failure
async def connection_refused(world: World) -> None:
    with refused_port() as port, expected():
        await asyncio.open_connection(HOST, port)


@failure
async def connection_refused_over_ipv6(world: World) -> None:
    with expected(), refused_port(socket.AF_INET6, "::1") as port:
        await world.loop.create_connection(asyncio.Protocol, "::1", port)


@failure
async def connection_refused_by_name(world: World) -> None:
    with refused_port() as port, expected():
        await world.loop.create_connection(asyncio.Protocol, "localhost", port)


@failure
async def connection_refused_by_every_address(world: World) -> None:
    async def two(host: Any, port: Any, **options: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, (HOST, port)), (*kind, ("127.0.0.2", port))]

    original = world.loop.getaddrinfo
    with refused_port() as port:
        world.loop.getaddrinfo = two  # type: ignore[method-assign]
        try:
            for options in ({}, {"happy_eyeballs_delay": SHORT_S}, {"happy_eyeballs_delay": SHORT_S, "interleave": 1}):
                with expected():
                    await world.loop.create_connection(asyncio.Protocol, "example", port, **options)
            if sys.version_info >= (3, 12):
                with expected():
                    await world.loop.create_connection(asyncio.Protocol, "example", port, all_errors=True)
        finally:
            world.loop.getaddrinfo = original  # type: ignore[method-assign]
            del world.loop.__dict__["getaddrinfo"]


@failure
async def connection_from_an_address_of_others(world: World) -> None:
    with listening() as (_, address), expected():
        await world.loop.create_connection(asyncio.Protocol, *address, local_addr=("192.0.2.1", 0))


@failure
async def connection_to_an_unreachable_address(world: World) -> None:
    with expected():
        async with asyncio.timeout(SHORT_S):
            await world.loop.create_connection(asyncio.Protocol, "255.255.255.255", 9)


@failure
async def name_that_does_not_resolve(world: World) -> None:
    with expected():
        await world.loop.create_connection(asyncio.Protocol, "nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.getaddrinfo("nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.create_server(asyncio.Protocol, "nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.create_connection(asyncio.Protocol, HOST, "no such service")  # type: ignore[call-overload]


@failure
async def resolving_is_cancelled(world: World) -> None:
    await cancelled(world.loop.create_connection(asyncio.Protocol, "localhost", 9))
    await asyncio.sleep(SHORT_S)


@failure
async def connection_cancelled_in_the_middle(world: World) -> None:
    for count in range(5):
        with crowded() as address:
            await cancelled(world.loop.create_connection(asyncio.Protocol, *address), count)


@failure
async def connection_timed_out(world: World) -> None:
    with crowded() as address:
        await timed_out(world, asyncio.open_connection(*address))
        await timed_out(world, world.loop.create_connection(asyncio.Protocol, *address, flags=socket.AI_NUMERICHOST))


@failure
async def connection_cancelled_when_it_is_made(world: World) -> None:
    for count in range(8):
        with listening() as (_, address):
            await cancelled(world.loop.create_connection(asyncio.Protocol, *address), count)
            await turns()


@failure
async def connection_without_a_protocol(world: World) -> None:
    with listening() as (_, address):
        with expected():
            await world.loop.create_connection(fail, *address)
        with expected():
            await world.loop.create_connection(fail, *address, flags=socket.AI_NUMERICHOST)


@failure
async def protocols_that_fail(world: World) -> None:
    for method in METHODS:
        with without_blocking(tcp_pair()) as (ours, theirs):
            transport, _ = await world.loop.create_connection(lambda method=method: FailingProtocol(method), sock=ours)
            theirs.send(b"x")
            await turns()
            theirs.shutdown(socket.SHUT_WR)
            await turns()
            await until_closed(transport)


@failure
async def sockets_of_the_wrong_kind(world: World) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, expected():
        await world.loop.create_connection(asyncio.Protocol, sock=datagrams)
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, expected():
        await world.loop.create_server(asyncio.Protocol, sock=datagrams)
    for connect in (world.loop.create_connection, world.loop.create_datagram_endpoint):
        with socket.socket() as ended:
            ended.close()
            with expected():
                await connect(asyncio.Protocol, sock=ended)  # type: ignore[arg-type]
    for options in (
        {},
        {"host": HOST},
        {"host": HOST, "port": 9, "sock": 1},
        {"host": HOST, "port": 9, "interleave": "x"},
    ):
        with expected():
            await world.loop.create_connection(asyncio.Protocol, **options)  # type: ignore[call-overload]
