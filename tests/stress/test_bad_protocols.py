"""Protocols that raise, and transports that are used wrongly, show the same as on asyncio's loop."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .loops_compared import NAME, awaiting, new_loop_under_test, run_until, same_on_both, turn

Loop = asyncio.AbstractEventLoop


class Recorder(asyncio.Protocol):
    """Writes down its calls and raises in one of them."""

    def __init__(self, calls: list[Any], raises_in: str = "", error: BaseException | None = None) -> None:
        self._calls = calls
        self._raises_in = raises_in
        self._error = error
        self.transport: asyncio.Transport

    def _called(self, name: str, *details: Any) -> None:
        self._calls.append((name, *details))
        if name == self._raises_in:
            assert self._error is not None
            raise self._error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._called("connection_made")

    def data_received(self, data: bytes) -> None:
        self._called("data_received", data)

    def eof_received(self) -> bool | None:
        self._called("eof_received")
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self._called("connection_lost", error)

    def pause_writing(self) -> None:
        self._called("pause_writing")

    def resume_writing(self) -> None:
        self._called("resume_writing")


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):  # type: ignore[misc]
    """The same with a buffer that *bad_buffer* may replace."""

    def __init__(self, calls: list[Any], raises_in: str = "", error: BaseException | None = None) -> None:
        super().__init__(calls, raises_in, error)
        self.buffer: Any = bytearray(100)

    def get_buffer(self, sizehint: int) -> Any:
        self._called("get_buffer")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._called("buffer_updated", bytes(self.buffer[:nbytes]))


def connected(loop: Loop, protocol: Recorder) -> socket.socket:
    """The blocking peer of *protocol*, which has a transport when this returns."""
    left, right = socket.socketpair()
    loop.run_until_complete(loop.create_connection(lambda: protocol, sock=left))
    return right


ERRORS = {"an exception": ValueError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "method",
    ["connection_made", "data_received", "eof_received", "connection_lost", "get_buffer", "buffer_updated"],
)
def test_a_protocol_that_raises_when_called_by_its_transport(method: str, error: str) -> None:
    calls: list[Any] = []

    def scenario(loop: Loop) -> list[Any]:
        calls.clear()
        kind = BufferedRecorder if "buffer" in method else Recorder
        protocol = kind(calls, method, ERRORS[error]("from the protocol"))
        escaped: list[BaseException] = []

        def go_on(step: Callable[[], Any]) -> Any:
            try:
                return step()
            except (SystemExit, KeyboardInterrupt) as left:
                escaped.append(left)

        peer = None
        left, right = socket.socketpair()
        go_on(lambda: loop.run_until_complete(loop.create_connection(lambda: protocol, sock=left)))
        peer = right
        with peer:
            peer.send(b"first")
            go_on(lambda: turn(loop, 3))
            go_on(lambda: peer.shutdown(socket.SHUT_WR) if method == "eof_received" else None)
            go_on(lambda: turn(loop, 3))
        go_on(lambda: run_until(loop, lambda: any(call[0] == "connection_lost" for call in calls)))
        protocol.transport.abort()
        go_on(lambda: turn(loop, 3))
        return [calls, escaped, protocol.transport.is_closing()]

    outcome = same_on_both(scenario)
    assert any(call[0] == method for call in calls)
    assert outcome.contexts or outcome.value[1]


@pytest.mark.parametrize("error", ERRORS)
def test_a_protocol_that_raises_in_pause_writing(error: str) -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []
        protocol = Recorder(calls, "pause_writing", ERRORS[error]("from the protocol"))
        with connected(loop, protocol) as peer:
            protocol.transport.set_write_buffer_limits(high=10)
            escaped = None
            try:
                protocol.transport.write(b"x" * 10_000_000)
            except (ValueError, SystemExit, KeyboardInterrupt) as raised:
                escaped = raised
            protocol.transport.close()
            peer.settimeout(10)
            received = 0
            while received < 10_000_000:
                turn(loop)
                received += len(peer.recv(1_000_000))
            turn(loop, 3)
        return [calls, escaped]

    outcome = same_on_both(scenario)
    assert ["pause_writing"] in outcome.value[0]


def test_a_protocol_that_raises_in_resume_writing() -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []
        protocol = Recorder(calls, "resume_writing", ValueError("from the protocol"))
        with connected(loop, protocol) as peer:
            protocol.transport.write(b"x" * 10_000_000)
            peer.settimeout(10)
            received = 0
            while received < 10_000_000:
                turn(loop)
                received += len(peer.recv(1_000_000))
            turn(loop, 3)
            protocol.transport.close()
            turn(loop, 3)
        return calls

    outcome = same_on_both(scenario)
    assert ["resume_writing"] in outcome.value
    assert outcome.contexts


@pytest.mark.parametrize("buffer", ["empty", "read-only", "None", "text"])
def test_a_protocol_whose_buffer_is_none(buffer: str) -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []
        protocol = BufferedRecorder(calls)
        protocol.buffer = {"empty": bytearray(), "read-only": b"constant", "None": None, "text": "text"}[buffer]
        with connected(loop, protocol) as peer:
            peer.send(b"data")
            run_until(loop, lambda: any(call[0] == "connection_lost" for call in calls))
        turn(loop, 2)
        return calls

    assert same_on_both(scenario).value[-1][0] == "connection_lost"


def test_a_protocol_that_is_none() -> None:
    async def main(loop: Loop) -> list[Any]:
        left, right = socket.socketpair()
        errors: list[Any] = []
        with left, right:
            for factory in (None, 3, lambda: 1 / 0):
                try:
                    await loop.create_connection(factory, sock=left)  # type: ignore[arg-type]
                except Exception as error:
                    errors.append(error)
        return errors

    assert len(same_on_both(awaiting(main)).value) == 3


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_a_server_whose_protocol_factory_raises_goes_on_accepting(debug: bool) -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder(calls))
            if len(made) == 1:
                raise ValueError("from the factory")
            return made[-1]

        server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        with socket.create_connection(address, 10):
            run_until(loop, lambda: len(made) == 1)
            turn(loop, 3)
            with socket.create_connection(address, 10) as second:
                second.send(b"served")
                run_until(loop, lambda: ("data_received", b"served") in calls)
            run_until(loop, lambda: ("connection_lost", None) in calls)
        server.close()
        loop.run_until_complete(server.wait_closed())
        return calls

    # asyncio leaves the first socket to the garbage collector, which warns.
    outcome = same_on_both(scenario, debug=debug, ignoring={"warnings"})
    assert len(outcome.contexts) == int(debug)


@pytest.mark.parametrize("method", ["datagram_received", "error_received", "connection_made", "connection_lost"])
def test_a_datagram_protocol_that_raises(method: str) -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self._called("connection_made")

            def datagram_received(self, data: bytes, address: Any) -> None:
                self._called("datagram_received", data)

            def error_received(self, error: Exception) -> None:
                self._called("error_received", error)

            def connection_lost(self, error: Exception | None) -> None:
                self._called("connection_lost", error)

            def _called(self, name: str, *details: Any) -> None:
                calls.append((name, *details))
                if name == method:
                    raise ValueError("from the protocol")

        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            transport, _ = loop.run_until_complete(
                loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0), remote_addr=peer.getsockname())
            )
            peer.sendto(b"datagram", transport.get_extra_info("sockname"))
            run_until(loop, lambda: ("datagram_received", b"datagram") in calls)
        # Nobody listens any more: the answer to this is an error.
        transport.sendto(b"to nobody")
        run_until(loop, lambda: any(call[0] in ("error_received", "connection_lost") for call in calls))
        transport.close()
        turn(loop, 3)
        return calls

    outcome = same_on_both(scenario)
    assert any(call[0] == method for call in outcome.value)
    assert outcome.contexts


# --- writing ------------------------------------------------------------------------------------------------


def errors_of(calls: list[Callable[[], Any]]) -> list[Any]:
    errors: list[Any] = []
    for call in calls:
        try:
            errors.append(call())
        except Exception as error:
            errors.append(error)
    return errors


def test_writing_what_is_not_bytes() -> None:
    def scenario(loop: Loop) -> list[Any]:
        protocol = Recorder([])
        with connected(loop, protocol) as peer:
            transport = protocol.transport
            errors = errors_of(
                [
                    lambda: transport.write("text"),  # type: ignore[arg-type]
                    lambda: transport.write(None),  # type: ignore[arg-type]
                    lambda: transport.write(3),  # type: ignore[arg-type]
                    lambda: transport.write([b"x"]),  # type: ignore[arg-type]
                    lambda: transport.write(b""),
                    lambda: transport.write(bytearray(b"one ")),
                    lambda: transport.write(memoryview(b"xtwo x")[1:5]),
                    lambda: transport.writelines([b" four", bytearray(b" five"), memoryview(b" six")]),
                    lambda: transport.writelines(["text"]),  # type: ignore[list-item]
                    lambda: transport.writelines(None),  # type: ignore[arg-type]
                    lambda: transport.writelines([]),
                ]
            )
            turn(loop, 3)
            transport.close()
            turn(loop, 3)
            peer.settimeout(10)
            received = b""
            while chunk := peer.recv(1000):
                received += chunk
        return [errors, received]

    assert same_on_both(scenario).value[0][0]["type"] is TypeError


def test_a_buffer_that_changes_after_it_was_written() -> None:
    loop = new_loop_under_test()
    try:
        protocol = Recorder([])
        with connected(loop, protocol) as peer:
            content = bytearray(b"x" * 5_000_000)
            protocol.transport.write(content)
            content[:] = b"y" * len(content)
            protocol.transport.close()
            received = set()
            total = 0
            peer.settimeout(10)
            while total < len(content):
                turn(loop)
                chunk = peer.recv(1_000_000)
                received |= set(chunk)
                total += len(chunk)
            turn(loop, 3)
        # asyncio keeps a view of the buffer; Ferrio copies what can change.
        assert received == {*b"x"} or (NAME == "asyncio" and received == {*b"xy"})
    finally:
        loop.close()


def test_writing_after_write_eof() -> None:
    def scenario(loop: Loop) -> list[Any]:
        protocol = Recorder([])
        with connected(loop, protocol):
            transport = protocol.transport
            errors = errors_of(
                [
                    transport.write_eof,
                    transport.write_eof,
                    lambda: transport.write(b"late"),
                    lambda: transport.writelines([b"late"]),
                    lambda: transport.write(b""),
                    transport.can_write_eof,
                ]
            )
            transport.close()
            turn(loop, 3)
        return errors

    assert same_on_both(scenario).value[2]["args"] == ["Cannot call write() after write_eof()"]


@pytest.mark.parametrize("end", ["close", "abort", "a reset by the peer"])
def test_writing_many_times_after_the_end_is_logged(end: str) -> None:
    def scenario(loop: Loop) -> list[Any]:
        calls: list[Any] = []
        protocol = Recorder(calls)
        with connected(loop, protocol) as peer:
            transport = protocol.transport
            if end == "a reset by the peer":
                peer.close()
                run_until(loop, lambda: calls[-1][0] == "connection_lost")
            else:
                getattr(transport, end)()
            for _ in range(12):
                transport.write(b"late")
            turn(loop, 3)
            for _ in range(3):
                transport.write(b"later")
            transport.close()
            transport.abort()
            turn(loop, 3)
        return calls

    outcome = same_on_both(scenario)
    assert ("asyncio", "WARNING", "socket.send() raised exception.") in outcome.logs


def test_limits_and_pauses_used_wrongly() -> None:
    def scenario(loop: Loop) -> list[Any]:
        protocol = Recorder([])
        with connected(loop, protocol):
            transport = protocol.transport
            limits = transport.set_write_buffer_limits
            errors = errors_of(
                [
                    lambda: limits(high=-1),
                    lambda: limits(high=1, low=2),
                    lambda: limits(low=-1),
                    lambda: limits(low=5),
                    transport.get_write_buffer_limits,
                    lambda: limits(high=0),
                    transport.get_write_buffer_limits,
                    limits,
                    transport.get_write_buffer_limits,
                    transport.get_write_buffer_size,
                    transport.resume_reading,
                    transport.pause_reading,
                    transport.pause_reading,
                    transport.is_reading,
                    transport.resume_reading,
                    transport.is_reading,
                    lambda: transport.get_extra_info("no such thing", "default"),
                    lambda: type(transport.get_protocol()).__name__,
                ]
            )
            transport.close()
            errors += errors_of([transport.pause_reading, transport.resume_reading, transport.is_reading])
            turn(loop, 3)
            errors += errors_of([transport.pause_reading, transport.resume_reading, transport.is_reading])
        return errors

    assert same_on_both(scenario).value[0]["type"] is ValueError


def test_datagrams_sent_wrongly() -> None:
    def scenario(loop: Loop) -> list[Any]:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            address = peer.getsockname()
            open_transport, _ = loop.run_until_complete(
                loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
            )
            connected_transport, _ = loop.run_until_complete(
                loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
            )
            errors = errors_of(
                [
                    lambda: open_transport.sendto("text", address),  # type: ignore[arg-type]
                    lambda: open_transport.sendto(None, address),  # type: ignore[arg-type]
                    lambda: open_transport.sendto(b"x" * 70_000, address),
                    lambda: open_transport.sendto(b"x", ("127.0.0.1",)),
                    lambda: open_transport.sendto(b"x", "127.0.0.1"),
                    lambda: open_transport.sendto(b"x", ("127.0.0.1", 70_000)),
                    lambda: open_transport.sendto(b"x", ("::1", 1)),
                    lambda: open_transport.sendto(b"x"),
                    lambda: connected_transport.sendto(b"x", ("127.0.0.1", 1)),
                    lambda: connected_transport.sendto(b"y", address),
                    lambda: connected_transport.sendto(b"z"),
                ]
            )
            turn(loop, 3)
            for transport in (open_transport, connected_transport):
                transport.close()
                for _ in range(8):
                    errors += errors_of([lambda transport=transport: transport.sendto(b"late", None)])
            turn(loop, 3)
        return errors

    assert same_on_both(scenario).value[0]["type"] is TypeError


def test_pipes_written_wrongly() -> None:
    def scenario(loop: Loop) -> list[Any]:
        reader, writer = os.pipe()
        calls: list[Any] = []
        pipe = os.fdopen(writer, "wb", 0)
        transport, _ = loop.run_until_complete(loop.connect_write_pipe(lambda: Recorder(calls), pipe))
        errors = errors_of(
            [
                lambda: transport.write("text"),
                lambda: transport.write(None),
                lambda: transport.write(b""),
                transport.can_write_eof,
                lambda: transport.set_write_buffer_limits(high=-1),
                transport.get_write_buffer_size,
            ]
        )
        os.close(reader)
        transport.write(b"to nobody")
        run_until(loop, lambda: calls[-1][0] == "connection_lost")
        errors += errors_of([lambda: transport.write(b"late")] * 8)
        transport.close()
        transport.abort()
        turn(loop, 3)
        return [errors, calls]

    same_on_both(scenario)


def test_streams_used_wrongly() -> None:
    async def main(loop: Loop) -> list[Any]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"x" * 300 + b"\nshort\nrest")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        seen: list[Any] = []
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=100)
            for call in (
                lambda: reader.readline(),
                lambda: reader.readexactly(-1),
                lambda: reader.readuntil(b""),
                lambda: reader.read(0),
                lambda: reader.readline(),
                lambda: reader.readexactly(100_000),
                lambda: reader.readuntil(b"none"),
            ):
                try:
                    seen.append(await call())
                except Exception as error:
                    seen.append(error)
            first = asyncio.create_task(reader.read(1))
            seen.append(await first)
            writer.close()
            await writer.wait_closed()
            seen += errors_of([writer.is_closing, reader.at_eof])
            try:
                writer.write(b"late")
                await writer.drain()
            except Exception as error:
                seen.append(error)
        return seen

    same_on_both(awaiting(main))


def test_two_readers_of_one_stream() -> None:
    async def main(loop: Loop) -> list[Any]:
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        with right:
            first = asyncio.create_task(reader.read(1))
            await asyncio.sleep(0)
            try:
                await reader.readline()
            except RuntimeError as error:
                second = error
            right.send(b"x")
            result = await first
            writer.close()
            await writer.wait_closed()
        return [result, second]

    assert same_on_both(awaiting(main)).value[0] == b"x"
