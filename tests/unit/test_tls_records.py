"""Ferrio's TLS protocol beside asyncio's own class: the same records, split the same way, come to the same events."""

import asyncio
import contextlib
import random
import socket
import ssl
from typing import Any

import pytest

from ferrio import _tls
from frameworks.certificates import Certificates

from .connections import Recorder
from .loops import ferrio_only, run, turn
from .test_tls import connected

pytestmark = ferrio_only

Loop = asyncio.AbstractEventLoop
CLASSES = [asyncio.sslproto.SSLProtocol, _tls.SSLProtocol]


class Wire(asyncio.Transport):
    """The transport below TLS: keeps what is written, and notes the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.events: list[Any] = []
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.sent += data

    def pause_reading(self) -> None:
        self.events.append("pause_reading")

    def resume_reading(self) -> None:
        self.events.append("resume_reading")

    def is_closing(self) -> bool:
        return "close" in self.events

    def close(self) -> None:
        self.events.append("close")

    def _force_close(self, error: BaseException | None) -> None:
        self.events.append(("force_close", type(error).__name__, getattr(error, "reason", None)))

    def abort(self) -> None:
        self._force_close(None)


class Stream(asyncio.Protocol):
    def __init__(self, events: list[Any]) -> None:
        self.events = events

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append((type(data).__name__, bytes(data)))

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, error: BaseException | None) -> None:
        self.events.append(("lost", type(error).__name__))


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, events: list[Any], size: int) -> None:
        self.events, self.buffer = events, bytearray(size)

    connection_made, eof_received, connection_lost = (
        Stream.connection_made,
        Stream.eof_received,
        Stream.connection_lost,
    )  # type: ignore[assignment]

    def get_buffer(self, hint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, count: int) -> None:
        self.events.append(("buffer", bytes(self.buffer[:count])))


class Conversation:
    """A peer in Python's ``ssl`` against one of the two classes, without sockets."""

    def __init__(self, loop: Loop, protocol_class: Any, certificates: Certificates, application: Any) -> None:
        self.loop, self.wire, self.events = loop, Wire(), application.events
        self.protocol = protocol_class(
            loop, application, certificates.server_context(), loop.create_future(), server_side=True
        )
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = certificates.client_context()
        self.peer = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.protocol.connection_made(self.wire)
        while True:
            try:
                self.peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.deliver(self.outgoing.read())
                self.incoming.write(self.wire.sent)
                self.wire.sent.clear()
        self.deliver(self.outgoing.read())

    def deliver(self, data: bytes) -> None:
        while data:
            buffer = self.protocol.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self.protocol.buffer_updated(count)
            data = data[count:]

    def heard(self) -> list[Any]:
        """What the peer makes of what was sent."""
        self.incoming.write(self.wire.sent)
        self.wire.sent.clear()
        heard: list[Any] = []
        try:
            while data := self.peer.read(1 << 20):
                heard.append(data)
        except ssl.SSLWantReadError:
            return heard
        except ssl.SSLError as error:
            return [*heard, error.reason]
        return [*heard, "end"]


def converse(loop: Loop, protocol_class: Any, certificates: Certificates, seed: int) -> list[Any]:
    """The course of a random conversation."""
    chance = random.Random(seed)
    events: list[Any] = []
    application: Any = (
        Stream(events) if chance.random() < 0.5 else Buffered(events, chance.choice([1, 100, 16384, 70_000]))
    )
    talk = Conversation(loop, protocol_class, certificates, application)
    transport = talk.protocol._app_transport
    course: list[Any] = []
    for _ in range(chance.randint(1, 12)):
        action = chance.choice(
            ["peer", "peer", "peer", "write", "pause", "resume", "close", "corrupt", "turn", "lines"]
        )
        size = chance.choice([1, 50, 1000, 16384, 16385, 40_000, 100_000])
        match action:
            case "peer":
                for _ in range(chance.randint(1, 3)):
                    # It may have ended its side.
                    with contextlib.suppress(ssl.SSLError):
                        talk.peer.write(bytes([size % 251]) * size)
            case "write" if transport is not None:
                transport.write(b"w" * size)
            case "lines" if transport is not None:
                transport.writelines([b"1" * size, bytearray(b"2"), memoryview(b"3" * size)])
            case "pause":
                talk.protocol._pause_reading()
            case "resume":
                talk.protocol._resume_reading()
            case "close" if chance.random() < 0.4:
                with contextlib.suppress(ssl.SSLError):
                    talk.peer.unwrap()
            case "turn":
                turn(loop)
        data = bytearray(talk.outgoing.read())
        if action == "corrupt" and data:
            data[chance.randrange(len(data))] ^= 0x55
        while data:
            cut = chance.choice([1, 5, 100, 5_000, 16406, len(data)])
            if talk.protocol._transport is None:
                break
            talk.deliver(bytes(data[:cut]))
            del data[:cut]
        course.append((action, size, talk.heard(), list(talk.wire.events), list(events), str(talk.protocol._state)))
    turn(loop, 3)
    if talk.protocol._transport is not None:
        talk.protocol.connection_lost(None)
    turn(loop, 2)
    return [*course, list(talk.wire.events), list(events)]


@pytest.mark.parametrize("seed", range(60))
def test_a_random_conversation_takes_the_same_course(
    loop: Loop, certificates: Certificates, contexts: list[dict[str, Any]], seed: int
) -> None:
    theirs = converse(loop, CLASSES[0], certificates, seed)
    reported = [(context["message"], str(context["exception"])) for context in contexts]
    contexts.clear()
    ours = converse(loop, CLASSES[1], certificates, seed)
    assert ours == theirs
    assert [(context["message"], str(context["exception"])) for context in contexts] == reported
    contexts.clear()


@pytest.mark.parametrize("flaw", ["second record", "first record"])
def test_a_broken_record_ends_both_alike(
    loop: Loop, certificates: Certificates, contexts: list[dict[str, Any]], flaw: str
) -> None:
    courses = []
    for protocol_class in CLASSES:
        talk = Conversation(loop, protocol_class, certificates, Stream([]))
        talk.peer.write(b"first")
        good = talk.outgoing.read()
        talk.peer.write(b"second")
        data = bytearray(good + talk.outgoing.read())
        data[-1 if flaw == "second record" else len(good) - 1] ^= 1
        talk.deliver(bytes(data))
        turn(loop, 2)
        reported = [(context["message"], type(context["exception"]), str(context["exception"])) for context in contexts]
        contexts.clear()
        courses.append((talk.events, talk.wire.events, reported))
        talk.protocol.connection_lost(None)
        turn(loop)
    assert courses[0] == courses[1]
    assert courses[1][1]


def test_connections_of_a_loop_receive_into_one_buffer(loop: Loop, certificates: Certificates) -> None:
    client, _, served, _ = run(loop, connected(loop, certificates))
    protocols = [client._ssl_protocol, served._ssl_protocol]
    assert [type(protocol) for protocol in protocols] == [_tls.SSLProtocol] * 2
    assert protocols[0]._ssl_buffer is protocols[1]._ssl_buffer
    assert protocols[0].max_size == _tls.RECEIVE_BYTES == asyncio.sslproto.SSLProtocol.max_size
    client.abort()
    served.abort()
    turn(loop, 3)


def test_start_tls_uses_the_same_class(loop: Loop, certificates: Certificates) -> None:
    async def main() -> tuple[Any, Any]:
        ours, theirs = socket.socketpair()
        client, _ = await loop.create_connection(Recorder, sock=ours)
        served, _ = await loop.create_connection(Recorder, sock=theirs)
        serving = asyncio.ensure_future(
            loop.start_tls(served, Recorder(), certificates.server_context(), server_side=True)
        )
        over_tls = await loop.start_tls(client, Recorder(), certificates.client_context(), server_hostname="localhost")
        return over_tls, await serving

    upgraded = run(loop, main())
    for transport in upgraded:
        assert type(transport._ssl_protocol) is _tls.SSLProtocol
        assert len(transport._ssl_protocol._ssl_buffer) == _tls.RECEIVE_BYTES
        transport.abort()
    assert upgraded[0]._ssl_protocol is not upgraded[1]._ssl_protocol
    turn(loop, 3)


@pytest.mark.parametrize("step", ["_do_read__copied", "_do_read__buffered", "_process_outgoing"])
def test_a_step_that_a_program_replaces_is_called(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    calls: list[str] = []
    original = getattr(asyncio.sslproto.SSLProtocol, step)

    def noted(protocol: Any) -> None:
        calls.append(step)
        original(protocol)

    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, step, noted)
    client, _, served, _ = run(loop, connected(loop, certificates))
    assert type(client._ssl_protocol) is asyncio.sslproto.SSLProtocol
    client.write(b"x")
    turn(loop, 3)
    assert bool(calls) == (step != "_do_read__buffered")
    client.abort()
    served.abort()
    turn(loop, 3)


def test_a_class_that_a_program_puts_in_place_is_used(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(asyncio.sslproto.SSLProtocol):  # type: ignore[misc]
        pass

    monkeypatch.setattr(asyncio.sslproto, "SSLProtocol", Own)
    client, _, served, _ = run(loop, connected(loop, certificates))
    assert type(client._ssl_protocol) is Own
    client.abort()
    served.abort()
    turn(loop, 3)
