"""Peers that break off, send garbage or stay silent, at every stage of a TLS connection: both engines and asyncio."""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import threading
from typing import Any

import pytest

from ferrio import _tls
from frameworks.certificates import Certificates

from .loops import ferrio_only, open_descriptors, run_until, turn
from .test_tls_engines import ENGINES, reported
from .test_tls_records import Buffered, Stream

pytestmark = ferrio_only

Loop = asyncio.AbstractEventLoop

FAULTS = ["garbage", "plain text", "flipped", "cut short", "repeated", "kept back", "reset", "end", "abort", "close"]
#: Places of a flight that mean the same in each run: the header of a record, the beginning of a message, the last byte.
PLACES = [0, 1, 2, 3, 4, 5, 6, -1]


class BadPeer:
    """One connection: a peer in Python's ``ssl`` that commits one fault, against one of the classes on the loop."""

    def __init__(self, loop: Loop, protocol_class: Any, certificates: Certificates, seed: int) -> None:
        self.loop, self.chance, self.events = loop, random.Random(seed), []
        chance = self.chance
        self.application: Any = Stream(self.events) if chance.random() < 0.6 else Buffered(self.events, 1000)
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        serves = chance.random() < 0.6
        contexts = [certificates.client_context(), certificates.server_context()]
        version = chance.choice([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
        for context in contexts:
            context.minimum_version = context.maximum_version = version
        self.waiter = loop.create_future()
        self.protocol = protocol_class(
            loop,
            self.application,
            contexts[serves],
            self.waiter,
            server_side=serves,
            server_hostname=None if serves else chance.choice(["localhost", "localhost", "elsewhere.test"]),
        )
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = contexts[not serves].wrap_bio(
            self.incoming, self.outgoing, server_side=not serves, server_hostname="localhost" if serves else None
        )
        self.transport: Any = loop._make_socket_transport(ours, self.protocol)  # type: ignore[attr-defined]
        turn(loop, 2)

    def deliver(self, data: bytes) -> None:
        """Send *data* in pieces of random sizes."""
        while data:
            size = self.chance.choice([1, 3, 5, 100, 1000, len(data), len(data)])
            try:
                self.sock.send(data[:size])
            except OSError:
                return
            data = data[size:]
            turn(self.loop, 2)

    def receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.sock.recv(1 << 20):
                self.incoming.write(data)
                turn(self.loop)

    def speak(self, step: int) -> None:
        """The peer's next step: the handshake, then data, then the end."""
        with contextlib.suppress(ssl.SSLError):
            if step < 4:
                self.peer.do_handshake()
            elif step < 7:
                self.peer.write(b"x" * self.chance.choice([1, 5000, 40_000]))
            else:
                self.peer.unwrap()

    def commit(self, fault: str, flight: bytes) -> bytes:
        """The fault; what is to be sent in place of *flight*."""
        chance = self.chance
        match fault:
            case "garbage":
                return chance.randbytes(1) * chance.choice([1, 5, 100, 20_000])
            case "plain text":
                return b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            case "flipped" if flight:
                data, place = bytearray(flight), chance.choice(PLACES)
                data[place if place < len(data) else 0] ^= 0x55
                return bytes(data)
            case "cut short":
                self.deliver(flight[: int(len(flight) * chance.random())])
                self.sock.close()
            case "repeated":
                return flight + flight
            case "reset":
                # What has not been read yet makes it one.
                self.deliver(flight[: len(flight) // 2])
                if self.protocol._app_transport is not None:
                    self.protocol._app_transport.write(b"unread")
                turn(self.loop)
                self.sock.close()
            case "end":
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_WR)
            case "abort":
                (self.protocol._app_transport or self.transport).abort()
            case "close":
                (self.protocol._app_transport or self.transport).close()
        return b""

    def course(self) -> list[Any]:
        """All that the program sees, from the beginning to the end."""
        fault_step, fault = self.chance.randrange(8), self.chance.choice(FAULTS)
        states: list[Any] = [fault_step, fault]
        for step in range(9):
            self.speak(step)
            flight = self.outgoing.read()
            self.deliver(self.commit(fault, flight) if step == fault_step else flight)
            self.receive()
            turn(self.loop, 2)
            states.append((step, list(self.events), str(self.protocol._state), self.protocol._transport is None))
        self.sock.close()
        turn(self.loop, 4)
        if self.protocol._transport is not None:
            self.protocol._abort(None)
        turn(self.loop, 4)
        error = self.waiter.exception() if self.waiter.done() and not self.waiter.cancelled() else None
        details = [getattr(error, name, None) for name in ("args", "errno", "reason", "library", "verify_message")]
        return [*states, list(self.events), self.waiter.done(), type(error), details, self.transport.is_closing()]


def logged(records: list[logging.LogRecord]) -> list[Any]:
    """The records without what depends on the clock."""
    return [
        (record.levelno, record.msg, record.exc_info and record.exc_info[0])
        for record in records
        if not str(record.msg).startswith("Executing ")
    ]


@pytest.mark.parametrize("seed", range(150))
def test_a_bad_peer_is_answered_and_reported_alike(
    loop: Loop,
    certificates: Certificates,
    contexts: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seed: int,
) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(seed % 3 == 0)
    outcomes = {}
    before = len(open_descriptors())
    for engine, (protocol_class, forced) in ENGINES.items():
        monkeypatch.setattr(_tls, "FORCED", forced)
        caplog.clear()
        course = BadPeer(loop, protocol_class, certificates, seed).course()
        outcomes[engine] = course, reported(contexts), logged(caplog.records)
    assert outcomes["python"] == outcomes["asyncio"]
    assert outcomes["native"] == outcomes["asyncio"]
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_handshakes_that_never_go_on_cost_no_thread_and_leave_nothing(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, engine: str, beginning: bytes
) -> None:
    monkeypatch.setattr(_tls, "FORCED", engine)
    count = 200
    descriptors, threads = len(open_descriptors()), threading.active_count()
    server = loop.run_until_complete(
        loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=certificates.server_context(), backlog=count)
    )
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(count)]
    for peer in peers:
        peer.send(beginning)
    try:
        run_until(loop, lambda: len(open_descriptors()) >= descriptors + 1 + 2 * count)
        turn(loop, 5)
        assert threading.active_count() == threads
    finally:
        for peer in peers:
            peer.close()
    server.close()
    run_until(loop, lambda: len(open_descriptors()) == descriptors)
    assert not asyncio.all_tasks(loop)
