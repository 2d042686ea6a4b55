"""Connections for tests: a transport at one end, a plain socket of the test's at the other."""

import asyncio
import socket
from collections.abc import Callable

from .loops import LIMIT_S, run, run_until
from .socket_pairs import Pair
from .transports import Ends, Notes, P


class Recorder(Notes, asyncio.Protocol):
    """A protocol that records its calls in order."""

    receiving = "data"

    def __init__(self) -> None:
        super().__init__()
        self.keep_open = False

    @property
    def received(self) -> bytes:
        """All bytes received so far."""
        return b"".join(details[0] for name, *details in self.events if name == "data")

    def data_received(self, data: bytes) -> None:
        self.events.append(("data", data))

    def eof_received(self) -> bool:
        self.events.append(("eof",))
        return self.keep_open


class Connection(Ends[P]):
    """A stream transport, its protocol, and the socket at the other end."""

    def receive(self, count: int) -> bytes:
        """Run the loop until the peer has *count* bytes, or fewer if the stream ends first."""
        self.peer.setblocking(False)
        parts: list[bytes] = []

        def is_complete() -> bool:
            missing = count - sum(map(len, parts))
            while missing:
                try:
                    part = self.peer.recv(min(missing, 1 << 20))
                except BlockingIOError:
                    return False
                if not part:
                    return True
                parts.append(part)
                missing -= len(part)
            return True

        run_until(self.loop, is_complete)
        return b"".join(parts)

    def receive_all(self) -> bytes:
        """Run the loop until the stream ends at the peer, and return what the peer received."""
        return self.receive(1 << 40)

    def is_at_end(self) -> bool:
        """Whether the peer sees the end of the stream or a reset, without running the loop."""
        self.peer.setblocking(False)
        try:
            return self.peer.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # The transport's socket was closed with unread bytes.
            return True


def connect(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], P] = Recorder,  # type: ignore[assignment]
    pair: Callable[[], Pair] = socket.socketpair,
) -> Connection[P]:
    """Connect a transport to a plain socket, at once.

    The transport's own is as one that the loop has opened: nobody else uses it.
    """
    ours, peer = pair()
    ours.setblocking(False)
    peer.settimeout(LIMIT_S)

    async def make() -> tuple[asyncio.Transport, P]:
        protocol = factory()
        waiter = loop.create_future()
        transport = loop._make_socket_transport(ours, protocol, waiter)  # type: ignore[attr-defined]
        await waiter
        return transport, protocol

    transport, protocol = run(loop, make())
    return Connection(loop, transport, protocol, peer)


def connect_both(loop: asyncio.AbstractEventLoop) -> tuple[Connection[Recorder], Connection[Recorder]]:
    """Connect two transports with each other; the ``peer`` of each is a closed socket."""
    ours, theirs = socket.socketpair()
    ends = []
    for sock in (ours, theirs):
        transport, protocol = run(loop, loop.create_connection(Recorder, sock=sock))
        closed = socket.socket()
        closed.close()
        ends.append(Connection(loop, transport, protocol, closed))
    return ends[0], ends[1]
