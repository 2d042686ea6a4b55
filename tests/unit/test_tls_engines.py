"""The two engines of TLS beside asyncio's own class, over sockets: the same records come to the same events."""

import asyncio
import contextlib
import random
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from ferrio import _ferrio, _tls
from frameworks.certificates import Certificates

from .connections import Recorder
from .loops import ferrio_only, run, turn
from .test_tls import connected
from .test_tls_records import Buffered, Stream

pytestmark = ferrio_only

Loop = asyncio.AbstractEventLoop
#: The class, and the engine that is forced.
ENGINES = {
    "asyncio": (asyncio.sslproto.SSLProtocol, ""),
    "python": (_tls.SSLProtocol, "python"),
    "native": (_tls.SSLProtocol, "native"),
}


class Conversation:
    """A peer in Python's ``ssl`` over a socket against one of the classes, both at this end of the loop."""

    def __init__(
        self,
        loop: Loop,
        protocol_class: Any,
        certificates: Certificates,
        application: Any,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        serves: bool = True,
    ) -> None:
        self.loop, self.events = loop, application.events
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        contexts = [certificates.client_context(), certificates.server_context()]
        for context in contexts:
            context.minimum_version = context.maximum_version = version
        names = [None if serves else "localhost", "localhost" if serves else None]
        self.protocol = protocol_class(
            loop,
            application,
            contexts[serves],
            loop.create_future(),
            server_side=serves,
            server_hostname=names[0],
        )
        self.peer = contexts[not serves].wrap_bio(
            self.incoming, self.outgoing, server_side=not serves, server_hostname=names[1]
        )
        self.transport = loop._make_socket_transport(ours, self.protocol)  # type: ignore[attr-defined]
        turn(loop, 2)
        for _ in range(20):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.peer.do_handshake()
            self.deliver(self.outgoing.read())
            self.receive()
        assert "made" in self.events

    def deliver(self, data: bytes) -> None:
        while data:
            try:
                sent = self.sock.send(data)
            except OSError:
                return
            data = data[sent:]
            turn(self.loop, 2)

    def receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.sock.recv(1 << 20):
                self.incoming.write(data)
                turn(self.loop)

    def heard(self) -> list[Any]:
        """What the peer makes of what was sent."""
        self.receive()
        heard = b""
        try:
            while data := self.peer.read(1 << 20):
                heard += data
        except ssl.SSLWantReadError:
            return [heard]
        except ssl.SSLError as error:
            return [heard, error.reason]
        return [heard, "end"]

    def close(self) -> None:
        self.transport.abort()
        turn(self.loop, 3)
        self.sock.close()


def streams(loop: Loop, events: list[Any]) -> Any:
    """asyncio's own stream protocol; what its reader holds is noted in *events* by the conversation."""
    reader = asyncio.StreamReader(limit=50_000, loop=loop)

    def made(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events.append("made")
        # Without it the connection would be closed.
        protocol.writer = writer

    protocol: Any = asyncio.StreamReaderProtocol(reader, made, loop=loop)
    protocol.events, protocol.reader = events, reader
    return protocol


def shown(application: Any) -> Any:
    """What is in asyncio's reader, if it is one."""
    reader = getattr(application, "reader", None)
    return None if reader is None else (bytes(reader._buffer), reader._eof, reader._paused)


def converse(
    loop: Loop, engine: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, seed: int
) -> list[Any]:
    """The course of a random conversation."""
    protocol_class, forced = ENGINES[engine]
    monkeypatch.setattr(_tls, "FORCED", forced)
    chance = random.Random(seed)
    events: list[Any] = []
    kind = chance.choice(["stream", "buffered", "reader"])
    application: Any
    if kind == "stream":
        application = Stream(events)
    elif kind == "buffered":
        application = Buffered(events, chance.choice([1, 100, 16384, 70_000]))
    else:
        application = streams(loop, events)
    version = chance.choice([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    talk = Conversation(loop, protocol_class, certificates, application, version, serves=chance.random() < 0.5)
    transport = talk.protocol._app_transport
    if protocol_class is _tls.SSLProtocol:
        assert transport.get_extra_info("ferrio_tls_engine") == engine
    course: list[Any] = []
    waiting: list[asyncio.Task[bytes]] = []
    for _ in range(chance.randint(1, 12)):
        action = chance.choice(
            [
                "peer",
                "peer",
                "peer",
                "write",
                "pause",
                "resume",
                "close",
                "corrupt",
                "turn",
                "lines",
                "limits",
                "read",
                "wait",
            ]
        )
        size = chance.choice([1, 50, 1000, 16384, 16385, 40_000, 100_000])
        match action:
            case "peer":
                for _ in range(chance.randint(1, 3)):
                    # It may have ended its side.
                    with contextlib.suppress(ssl.SSLError):
                        talk.peer.write(bytes([size % 251]) * size)
            case "write" if transport is not None:
                transport.write(chance.choice([bytes, bytearray, lambda data: memoryview(data)])(b"w" * size))
            case "lines" if transport is not None:
                transport.writelines([b"1" * size, bytearray(b"2"), b"", memoryview(b"3" * size)])
            case "pause":
                talk.protocol._pause_reading()
            case "resume":
                talk.protocol._resume_reading()
            case "close" if chance.random() < 0.4:
                with contextlib.suppress(ssl.SSLError):
                    talk.peer.unwrap()
            case "limits" if talk.protocol._transport is not None:
                limits = chance.choice([(0, 0), (10, 5), (None, None)])
                getattr(transport, chance.choice(["set_read_buffer_limits", "set_write_buffer_limits"]))(*limits)
            case "read" if kind == "reader" and application.reader._buffer and application.reader._waiter is None:
                task = loop.create_task(application.reader.read(chance.choice([1, 1000, 1 << 20])))
                events.append(len(run(loop, task)))
            case "wait" if kind == "reader" and application.reader._waiter is None:
                waiting.append(loop.create_task(application.reader.read(1000)))
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
        turn(loop)
        read = [task.result() if task.done() and task.exception() is None else task.done() for task in waiting]
        course.append((action, size, talk.heard(), list(events), shown(application), read, str(talk.protocol._state)))
        if talk.protocol._transport is not None:
            course.append((talk.transport.is_reading(), transport.get_write_buffer_size()))
    talk.close()
    for task in waiting:
        task.cancel()
    turn(loop, 2)
    return [*course, list(events)]


def reported(contexts: list[dict[str, Any]]) -> list[Any]:
    found = []
    for context in contexts:
        error = context["exception"]
        details = [getattr(error, name, None) for name in ("errno", "reason", "library")]
        found.append((context["message"], type(error), error.args, *details))
    contexts.clear()
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_random_conversation_over_a_socket_takes_the_same_course(
    loop: Loop,
    certificates: Certificates,
    contexts: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    expected = converse(loop, "asyncio", certificates, monkeypatch, seed), reported(contexts)
    for engine in ("python", "native"):
        assert (converse(loop, engine, certificates, monkeypatch, seed), reported(contexts)) == expected, engine


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("flaw", ["second record", "first record", "garbage"])
def test_a_broken_record_raises_the_same_error(
    loop: Loop,
    certificates: Certificates,
    contexts: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    flaw: str,
    version: ssl.TLSVersion,
) -> None:
    courses = []
    for protocol_class, forced in ENGINES.values():
        monkeypatch.setattr(_tls, "FORCED", forced)
        talk = Conversation(loop, protocol_class, certificates, Stream([]), version)
        talk.peer.write(b"first")
        good = talk.outgoing.read()
        talk.peer.write(b"second")
        data = bytearray(good + talk.outgoing.read())
        if flaw == "garbage":
            data = bytearray(b"GET / HTTP/1.1\r\n\r\n")
        else:
            data[-1 if flaw == "second record" else len(good) - 1] ^= 1
        talk.deliver(bytes(data))
        turn(loop, 3)
        errors = reported(contexts)
        courses.append((talk.events, errors, talk.heard()))
        talk.close()
    assert courses[0] == courses[1] == courses[2]
    assert ("lost", "SSLError") in courses[0][0]


@pytest.mark.parametrize("size", [1, 1023, 16_384, 70_000])
def test_a_record_that_is_cut_at_every_offset_is_read_once_it_is_whole(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(_tls, "FORCED", "native")
    talk = Conversation(loop, _tls.SSLProtocol, certificates, Stream([]))
    talk.events.clear()
    talk.peer.write(bytes(range(251)) * (size // 251 + 1))
    data = talk.outgoing.read()
    step = 1 if len(data) < 2_000 else 997
    for start in range(0, len(data), step):
        talk.deliver(data[start : start + step])
    assert b"".join(part for _, part in talk.events) == bytes(range(251)) * (size // 251 + 1)
    talk.close()


def engine_of(loop: Loop, certificates: Certificates) -> set[Any]:
    """The engines of the two ends of a new connection."""
    client, _, served, _ = run(loop, connected(loop, certificates))
    engines = {transport.get_extra_info("ferrio_tls_engine") for transport in (client, served)}
    client.abort()
    served.abort()
    turn(loop, 3)
    return engines


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_forced_engine_runs_and_is_named(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(_tls, "FORCED", engine)
    assert engine_of(loop, certificates) == {engine}


@pytest.mark.parametrize("name", ["_do_read", "buffer_updated", "_write_appdata", "_control_app_writing"])
def test_the_python_engine_runs_when_a_program_has_replaced_a_step(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = getattr(asyncio.sslproto.SSLProtocol, name)
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, name, lambda *arguments: original(*arguments))
    assert engine_of(loop, certificates) == {"python"}


def test_the_python_engine_calls_the_ssl_object_of_a_program(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    class Noting(ssl.SSLObject):
        def read(self, len: int = 1024, buffer: Any = None) -> Any:
            reads.append(len)
            return super().read(len, buffer) if buffer is not None else super().read(len)

    monkeypatch.setattr(ssl.SSLContext, "sslobject_class", Noting)
    assert engine_of(loop, certificates) == {"python"}
    assert reads


def test_the_python_engine_runs_with_a_key_log(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert engine_of(loop, certificates) == {"python"}
    assert "SERVER_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


def test_messages_are_shown_to_a_callback(loop: Loop, certificates: Certificates) -> None:
    messages: list[Any] = []
    context = certificates.client_context()
    context._msg_callback = lambda *arguments: messages.append(arguments[1:4])  # type: ignore[attr-defined]

    async def main() -> Any:
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=certificates.server_context())
        address = server.sockets[0].getsockname()
        client, _ = await loop.create_connection(Recorder, *address, ssl=context, server_hostname="localhost")
        engine = client.get_extra_info("ferrio_tls_engine")
        client.abort()
        server.close()
        return engine

    assert run(loop, main()) == "python"
    assert messages
    turn(loop, 3)


def test_another_tls_object_in_the_protocol_is_the_one_that_is_read(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation(loop, _tls.SSLProtocol, certificates, Stream([]))
    calls: list[str] = []

    class Other:
        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(original, name)

    original, talk.protocol._sslobj = talk.protocol._sslobj, Other()
    talk.peer.write(b"data")
    talk.deliver(talk.outgoing.read())
    talk.protocol._app_transport.write(b"answer")
    assert ("bytes", b"data") in talk.events
    assert talk.heard() == [b"answer"]
    assert {"read", "write"} <= set(calls)
    talk.close()


def test_a_view_of_the_readers_buffer_is_met_by_the_protocol(
    loop: Loop, certificates: Certificates, contexts: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for protocol_class, forced in ENGINES.values():
        monkeypatch.setattr(_tls, "FORCED", forced)
        application = streams(loop, [])
        talk = Conversation(loop, protocol_class, certificates, application)
        talk.peer.write(b"first")
        talk.deliver(talk.outgoing.read())
        view = memoryview(application.reader._buffer)
        talk.peer.write(b"second")
        talk.deliver(talk.outgoing.read())
        view.release()
        turn(loop, 3)
        outcomes.append((shown(application), reported(contexts), talk.protocol._transport is None))
        talk.close()
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1][0][1] is BufferError


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_waiting_read_is_not_woken_by_a_record_without_data(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(_tls, "FORCED", engine)
    application = streams(loop, [])
    talk = Conversation(loop, _tls.SSLProtocol, certificates, application)
    reading = loop.create_task(application.reader.read(100))
    talk.peer.write(b"data")
    record = talk.outgoing.read()
    for start in range(len(record)):
        turn(loop, 2)
        assert not reading.done()
        talk.deliver(record[start : start + 1])
    assert run(loop, reading) == b"data"
    talk.close()


class Lending(asyncio.BufferedProtocol):
    """Lends odd buffers."""

    def __init__(self, buffer: Any) -> None:
        self.buffer, self.events = buffer, []  # type: ignore[var-annotated]

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")

    def get_buffer(self, hint: int) -> Any:
        if isinstance(self.buffer, Exception):
            raise self.buffer
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.events.append(count)

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, error: BaseException | None) -> None:
        self.events.append(type(error))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(),
        lambda: bytearray(3),
        lambda: memoryview(bytearray(28)).cast("I"),
        lambda: b"not writable",
        lambda: "no buffer",
        lambda: None,
        lambda: ValueError("no"),
    ],
    ids=["empty", "small", "words", "bytes", "str", "None", "raises"],
)
def test_odd_buffers_come_to_the_same_end(
    loop: Loop,
    certificates: Certificates,
    contexts: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
) -> None:
    outcomes = []
    for protocol_class, forced in ENGINES.values():
        monkeypatch.setattr(_tls, "FORCED", forced)
        application: Any = Lending(bytearray(100))
        talk = Conversation(loop, protocol_class, certificates, application)
        application.events.clear()
        application.buffer = make()
        talk.peer.write(b"0123456789abcdef")
        talk.deliver(talk.outgoing.read())
        turn(loop, 6)
        outcomes.append((application.events, reported(contexts), talk.heard()))
        talk.close()
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_what_is_written_while_the_kernel_is_full_waits_in_order(
    loop: Loop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tls, "FORCED", "native")
    talk = Conversation(loop, _tls.SSLProtocol, certificates, Stream([]))
    transport = talk.protocol._app_transport
    written = b""
    for number in range(40):
        data = bytes([number]) * 50_000
        transport.write(data)
        written += data
        turn(loop)
    assert transport.get_write_buffer_size() > 0
    heard = b""
    while len(heard) < len(written):
        heard += talk.heard()[0]
        turn(loop)
    assert heard == written
    assert transport.get_write_buffer_size() == 0
    talk.close()


def test_no_records_are_made_of_objects_that_do_not_belong_together(certificates: Certificates) -> None:
    context = certificates.client_context()
    incoming, outgoing, other = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    assert isinstance(_ferrio.tls_records(ssl_object, incoming, outgoing), _ferrio.TlsRecords)
    for wrong in [(outgoing, incoming), (incoming, other), (other, outgoing), (None, outgoing), (incoming, 1)]:
        assert _ferrio.tls_records(ssl_object, *wrong) is None
    ours, theirs = socket.socketpair()
    with ours, theirs, context.wrap_socket(ours, do_handshake_on_connect=False, server_hostname="localhost") as wrapped:
        assert _ferrio.tls_records(wrapped, incoming, outgoing) is None
    with pytest.raises(AttributeError):
        _ferrio.tls_records(object(), incoming, outgoing)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _ferrio.TlsRecords()


def test_records_follow_a_context_that_was_swapped(loop: Loop, certificates: Certificates) -> None:
    context, other = certificates.server_context(), certificates.server_context()

    def swap(ssl_object: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
        ssl_object.context = other

    context.sni_callback = swap

    async def main() -> Any:
        served: list[Any] = []

        def protocol() -> Recorder:
            served.append(Recorder())
            return served[-1]

        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context)
        address = server.sockets[0].getsockname()
        client, recorder = await loop.create_connection(
            Recorder, *address, ssl=certificates.client_context(), server_hostname="localhost"
        )
        while not (served and served[0].transport):
            await asyncio.sleep(0)
        served[0].transport.write(b"hello")
        while not recorder.received:
            await asyncio.sleep(0)
        engine = served[0].transport.get_extra_info("ferrio_tls_engine")
        swapped = served[0].transport.get_extra_info("ssl_object").context is other
        client.abort()
        served[0].transport.abort()
        server.close()
        return engine, swapped, bytes(recorder.received)

    assert run(loop, main()) == ("native", True, b"hello")
    turn(loop, 3)
