"""Datagram endpoints for tests: a transport at one end, a plain socket of the test's at the other."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from ..loops import LIMIT_S, run, run_until
from ..transports import Ends, Notes, P


class Recorder(Notes, asyncio.DatagramProtocol):
    """A protocol that records its calls in order."""

    receiving = "datagram"

    @property
    def received(self) -> list[bytes]:
        """All datagrams received so far."""
        return [details[0] for name, *details in self.events if name == "datagram"]

    @property
    def senders(self) -> list[Any]:
        """The senders of the received datagrams."""
        return [details[1] for name, *details in self.events if name == "datagram"]

    @property
    def errors(self) -> list[Exception]:
        """The exceptions that ``error_received`` was called with."""
        return [details[0] for name, *details in self.events if name == "error"]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.events.append(("datagram", data, addr))

    def error_received(self, exc: Exception) -> None:
        self.events.append(("error", exc))


class Endpoint(Ends[P]):
    """A datagram transport, its protocol, and the socket at the other end."""

    @property
    def name(self) -> Any:
        """The address of the transport's socket."""
        return self.transport.get_extra_info("sockname")

    def receive(self, count: int) -> list[bytes]:
        """Run the loop until the peer has *count* datagrams."""
        datagrams: list[bytes] = []

        def is_complete() -> bool:
            while len(datagrams) < count:
                try:
                    datagrams.append(self.peer.recv(1 << 19))
                except BlockingIOError:
                    return False
            return True

        run_until(self.loop, is_complete)
        return datagrams

    def waiting(self) -> list[bytes]:
        """The datagrams that the peer has by now, without running the loop."""
        datagrams = []
        while True:
            try:
                datagrams.append(self.peer.recv(1 << 19))
            except BlockingIOError:
                return datagrams


def udp_socket(host: str = "127.0.0.1") -> socket.socket:
    """A bound, non-blocking UDP socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def bind(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], P] = Recorder,  # type: ignore[assignment]
    host: str = "127.0.0.1",
) -> Endpoint[P]:
    """An endpoint without a remote address, and an unconnected socket."""
    transport, protocol = run(loop, loop.create_datagram_endpoint(factory, local_addr=(host, 0)))  # type: ignore[arg-type]
    return Endpoint(loop, transport, protocol, udp_socket(host))


def connect(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], P] = Recorder,  # type: ignore[assignment]
    host: str = "127.0.0.1",
) -> Endpoint[P]:
    """An endpoint whose remote address is the peer's."""
    peer = udp_socket(host)
    remote = peer.getsockname()[:2]
    transport, protocol = run(loop, loop.create_datagram_endpoint(factory, remote_addr=remote))  # type: ignore[arg-type]
    return Endpoint(loop, transport, protocol, peer)


def connect_unix(
    loop: asyncio.AbstractEventLoop,
    path: str,
    factory: Callable[[], P] = Recorder,  # type: ignore[assignment]
) -> Endpoint[P]:
    """An endpoint of a Unix socket whose remote address is the peer's: a full peer refuses more at once."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(path)
    peer.setblocking(False)
    creating = loop.create_datagram_endpoint(factory, remote_addr=path, family=socket.AF_UNIX)  # type: ignore[arg-type]
    transport, protocol = run(loop, creating)
    return Endpoint(loop, transport, protocol, peer)


def fill(transport: Any, start: int = 0) -> int:
    """Send numbers until one has to wait, and return the next number."""
    number = start
    while transport.get_write_buffer_size() == 0:
        transport.sendto(b"%d" % number)
        number += 1
        assert number < start + 100_000, "there is always room"
    return number


__all__ = ["LIMIT_S", "Endpoint", "Recorder", "bind", "connect", "connect_unix", "fill", "udp_socket"]
