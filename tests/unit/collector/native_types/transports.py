"""Transports."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from ...loops import turn
from ...socket_pairs import tcp_pair
from .kinds import KINDS, Kind, Way, World, changed, having


class Noted(asyncio.Protocol, asyncio.DatagramProtocol):
    """A protocol that refers to a token."""

    def __init__(self, token: Any) -> None:
        self.token = token


def stream(world: World, token: Any = None) -> Any:
    """A paused transport, which its loop does not hold."""
    ours, theirs = tcp_pair()
    with theirs:
        made = world.loop.create_connection(lambda: Noted(token), sock=ours)
        transport, _ = world.loop.run_until_complete(made)
        transport.pause_reading()
        turn(world.loop, 2)
    return transport


def datagrams(world: World, token: Any = None) -> Any:
    """A paused datagram transport, which its loop does not hold."""
    made = world.loop.create_datagram_endpoint(lambda: Noted(token), local_addr=("127.0.0.1", 0))
    transport, _ = world.loop.run_until_complete(made)
    transport.pause_reading()
    turn(world.loop, 2)
    return transport


def details(make: Callable[[World], Any]) -> Way:
    """The dictionary behind ``get_extra_info``."""

    def way(world: World, token: Any) -> Any:
        transport = make(world)
        transport._extra["token"] = token
        return transport

    return way


KINDS["StreamTransport"] = Kind(
    make=stream,
    ways={
        "dictionary": having(stream),
        "protocol": stream,
        "other protocol": changed(stream, lambda transport, token: transport.set_protocol(Noted(token))),
        "details": details(stream),
    },
    attributes=frozenset({"_extra", "_empty_waiter"}),
)
KINDS["DatagramTransport"] = Kind(
    make=datagrams,
    ways={
        "dictionary": having(datagrams),
        "protocol": datagrams,
        "other protocol": changed(datagrams, lambda transport, token: transport.set_protocol(Noted(token))),
        "details": details(datagrams),
    },
)


def connection(world: World) -> Any:
    """A connection, which holds no object."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = world.loop._connect(*listener.getsockname())
        made.close()
    return made


KINDS["Connection"] = Kind(make=connection, ways={})
