"""Connected sockets of every kind, and helpers for the tests of ``sock_recv`` and its relatives."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from ..loops import turn
from ..socket_pairs import Pair, tcp_pair

Loop = asyncio.AbstractEventLoop


def unix_datagrams() -> Pair:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def unix_packets() -> Pair:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def udp_pair() -> Pair:
    ours, theirs = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for end in (ours, theirs):
        end.bind(("127.0.0.1", 0))
    ours.connect(theirs.getsockname())
    theirs.connect(ours.getsockname())
    return ours, theirs


KINDS: dict[str, Callable[[], Pair]] = {
    "tcp": tcp_pair,
    "unix stream": socket.socketpair,
    "unix datagram": unix_datagrams,
    "unix packets": unix_packets,
    "udp": udp_pair,
}

#: One call of each method, for a loop and a socket.
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 10),
    "sock_recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"abc"),
    "sock_sendto": lambda loop, sock: loop.sock_sendto(sock, b"abc", ("127.0.0.1", 9)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
    "sock_connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 9)),
}


def waiting(loop: Loop, awaitable: Any) -> asyncio.Task[Any]:
    """A task that has started to wait."""
    task = loop.create_task(awaitable)
    turn(loop, 2)
    assert not task.done()
    return task


async def ended(task: asyncio.Task[Any]) -> Any:
    return await task


async def in_turn(*awaitables: Awaitable[Any]) -> list[Any]:
    return [await each for each in awaitables]
