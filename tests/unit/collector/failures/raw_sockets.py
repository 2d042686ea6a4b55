"""``sock_recv`` and its relatives that fail or are cancelled."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from ...socket_pairs import fill, tcp_pair, without_blocking
from .ways import (
    HOST,
    World,
    awaiting,
    cancelled,
    crowded,
    ended,
    expected,
    failure,
    listening,
    refused_port,
    reset,
    timed_out,
    turns,
)


@failure
async def sock_connect_that_fails(world: World) -> None:
    with refused_port() as port, socket.socket() as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, (HOST, port))
    with socket.socket() as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, ("no such host", "x"))  # type: ignore[arg-type]
    with socket.socket(socket.AF_UNIX) as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, str(world.folder / "nobody"))
    with crowded() as address, socket.socket() as sock:
        sock.setblocking(False)
        await cancelled(world.loop.sock_connect(sock, address))
    with crowded() as address, socket.socket() as sock:
        sock.setblocking(False)
        await timed_out(world, world.loop.sock_connect(sock, address))


@failure
async def sock_accept_that_fails(world: World) -> None:
    with listening() as (listener, _):
        await cancelled(world.loop.sock_accept(listener))
        await timed_out(world, world.loop.sock_accept(listener))
    with expected():
        await world.loop.sock_accept(listener)


def raw_calls(world: World, sock: socket.socket) -> list[Callable[[], Awaitable[Any]]]:
    """Operations that wait for *sock*, which has nothing to receive and no room."""
    loop = world.loop
    return [
        lambda: loop.sock_recv(sock, 1),
        lambda: loop.sock_recv_into(sock, bytearray(1)),
        lambda: loop.sock_recvfrom(sock, 1),
        lambda: loop.sock_recvfrom_into(sock, bytearray(1)),
        lambda: loop.sock_sendall(sock, b"x"),
        lambda: loop.sock_sendall(sock, bytearray(1)),
    ]


@failure
async def raw_sockets_that_wait_in_vain(world: World) -> None:
    with without_blocking(socket.socketpair()) as (ours, _):
        fill(ours)
        for make in raw_calls(world, ours):
            await cancelled(awaiting(make))
            await timed_out(world, awaiting(make))


@failure
async def raw_sockets_that_are_reset(world: World) -> None:
    for number in range(6):
        with without_blocking(tcp_pair()) as (ours, theirs):
            fill(ours)
            task = asyncio.ensure_future(awaiting(raw_calls(world, ours)[number]))
            await turns(2)
            reset(theirs)
            theirs.close()
            await ended(task)


@failure
async def raw_sockets_that_are_closed(world: World) -> None:
    with without_blocking(socket.socketpair()) as (ours, theirs):
        theirs.close()
        with expected():
            await world.loop.sock_sendall(ours, b"x")
        with expected():
            await world.loop.sock_recv(ours, -1)
        with expected():
            await world.loop.sock_recv_into(ours, b"x")  # type: ignore[arg-type]
    for make in raw_calls(world, ours):
        with expected():
            await make()


@failure
async def sendfile_that_fails(world: World) -> None:
    path = world.folder / "sent"
    path.write_bytes(b"x" * (1 << 22))
    with path.open("rb") as file:
        with without_blocking(socket.socketpair()) as (ours, _):
            await cancelled(world.loop.sock_sendfile(ours, file))
        with without_blocking(socket.socketpair()) as (ours, theirs):
            theirs.close()
            with expected():
                await world.loop.sock_sendfile(ours, file)
        with without_blocking(tcp_pair()) as (ours, theirs):
            transport, _ = await world.loop.create_connection(asyncio.Protocol, sock=ours)
            await cancelled(world.loop.sendfile(transport, file))
            transport.abort()
            await turns()
            with expected():
                await world.loop.sendfile(transport, file)
