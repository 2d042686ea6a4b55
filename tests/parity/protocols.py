"""Protocols that write down their calls."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from unit.socket_pairs import tcp_pair

from .observation import Diary


class Noted(asyncio.Protocol):
    """Writes down each call under its name.

    Args:
        diary: Where to.
        name: Distinguishes several protocols of one scenario.
        keep_open: What ``eof_received`` answers.
        at: What to do within a method: its name and a function of the transport.
    """

    def __init__(
        self,
        diary: Diary,
        name: str = "protocol",
        *,
        keep_open: bool = False,
        at: dict[str, Callable[[Any], object]] | None = None,
    ) -> None:
        self.diary, self.name, self.keep_open = diary, name, keep_open
        self.at = at or {}
        self.transport: Any = None
        self.received = bytearray()
        self.is_ended = False
        self.lost: asyncio.Future[None] = diary.loop.create_future()

    def note(self, event: str, *details: Any) -> None:
        self.diary(f"{self.name}.{event}", *details)
        if act := self.at.get(event):
            act(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("connection_made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.note("data_received", len(data), data[:20], type(data))

    def eof_received(self) -> bool:
        self.is_ended = True
        self.note("eof_received")
        return self.keep_open

    def pause_writing(self) -> None:
        self.note("pause_writing")

    def resume_writing(self) -> None:
        self.note("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self.note("connection_lost", exc)


class NotedBuffered(Noted, asyncio.BufferedProtocol):
    """Like `Noted`, but receives into its own buffer."""

    size = 16

    def get_buffer(self, sizehint: int) -> Any:
        self.note("get_buffer", sizehint)
        self.buffer = bytearray(self.size)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]
        self.note("buffer_updated", nbytes)


def fail_with(exception: type[BaseException] | BaseException) -> Callable[[Any], object]:
    """Make an action that raises the first time."""
    left = [exception]

    def raise_it(transport: Any) -> None:
        if left:
            raise left.pop()

    return raise_it


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that its peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def connect(protocol: Noted, *, tcp: bool = False) -> tuple[Any, socket.socket]:
    """Connect a transport for *protocol* to a plain, non-blocking socket, and return both."""
    ours, theirs = tcp_pair() if tcp else socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await protocol.diary.loop.create_connection(lambda: protocol, sock=ours)
    return transport, theirs


async def read_all(loop: asyncio.AbstractEventLoop, sock: socket.socket, count: int | None = None) -> int:
    """Count the bytes received until the end of the stream, or until there are *count*."""
    received = 0
    while count is None or received < count:
        try:
            part = await loop.sock_recv(sock, 1 << 20)
        except ConnectionResetError:
            break
        if not part:
            break
        received += len(part)
    return received


async def turns(count: int) -> None:
    """Let *count* turns pass."""
    for _ in range(count):
        await asyncio.sleep(0)
