"""Streams over connections: writers, the protocol between, servers, and what ``install()`` changes."""

import asyncio
import asyncio as stdlib
import copy
import gc
import inspect
import socket
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import ferrio.asyncio

from ..loops import run

CLASSES = ["StreamReader", "StreamWriter", "StreamReaderProtocol"]
FUNCTIONS = ["open_connection", "start_server", "open_unix_connection", "start_unix_server"]


class Recorded(asyncio.Transport):
    """A transport that records what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.calls.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.calls.append(list(list_of_data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


def connected(namespace: Any, loop: Any, protocol_class: Any = None) -> tuple[Any, Any, Any]:
    """A writer, its protocol and its transport, which is connected to nothing."""
    reader = namespace.StreamReader(loop=loop)
    protocol = (protocol_class or namespace.StreamReaderProtocol)(reader, loop=loop)
    transport = Recorded()
    protocol.connection_made(transport)
    return namespace.StreamWriter(transport, protocol, reader, loop), protocol, transport


def test_the_classes_are_asyncios_by_type(loop: asyncio.AbstractEventLoop) -> None:
    for name in CLASSES:
        mine, theirs = getattr(ferrio.asyncio, name), getattr(asyncio, name)
        assert issubclass(mine, theirs)
        assert mine is not theirs
        assert inspect.signature(mine) == inspect.signature(theirs)
        assert (mine.__name__, mine.__qualname__, mine.__module__) == (name, name, "ferrio.asyncio")
    reader = asyncio.StreamReader(loop=loop)
    assert isinstance(reader, ferrio.asyncio.StreamReader)
    assert not isinstance(asyncio.StreamReaderProtocol(reader, loop=loop), ferrio.asyncio.StreamReader)

    class Derived(ferrio.asyncio.StreamReader):
        pass

    assert not isinstance(reader, Derived)
    assert isinstance(Derived(loop=loop), (Derived, asyncio.StreamReader))


def test_the_functions_are_shown_as_asyncios() -> None:
    for name in FUNCTIONS:
        mine, theirs = getattr(ferrio.asyncio, name), getattr(asyncio, name)
        assert mine is not theirs
        assert inspect.signature(mine) == inspect.signature(theirs)
        assert (mine.__doc__, mine.__module__, mine.__qualname__) == (theirs.__doc__, "asyncio.streams", name)
        assert inspect.iscoroutinefunction(mine)
    for kind in CLASSES:
        for name, member in inspect.getmembers(getattr(ferrio.asyncio, kind), callable):
            original = getattr(getattr(asyncio, kind), name, None)
            if inspect.isfunction(original):
                assert inspect.signature(member) == inspect.signature(original), name
                assert inspect.iscoroutinefunction(member) == inspect.iscoroutinefunction(original), name


@pytest.mark.parametrize("unix", [False, True])
def test_a_server_and_a_client_have_streams_of_the_namespace(
    loop: asyncio.AbstractEventLoop, ours: Any, unix: bool, tmp_path: Path
) -> None:
    made: list[Any] = []

    async def answer(reader: Any, writer: Any) -> None:
        made.extend([reader, writer, writer.transport.get_protocol()])
        async for line in reader:
            writer.write(line)
            await writer.drain()
        writer.writelines([b"the ", b"end"])
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        if unix:
            path = str(tmp_path / "socket")
            server = await ours.start_unix_server(answer, path, limit=1000)
            reader, writer = await ours.open_unix_connection(path, limit=2000)
        else:
            server = await ours.start_server(answer, "127.0.0.1", 0, limit=1000)
            reader, writer = await ours.open_connection(*server.sockets[0].getsockname(), limit=2000)
        async with server:
            writer.write(b"one\ntwo\nthree")
            assert writer.can_write_eof()
            writer.write_eof()
            assert await reader.readuntil(b"two\n") == b"one\ntwo\n"
            assert await reader.readexactly(3) == b"thr"
            assert await reader.read() == b"eethe end"
            writer.close()
            assert writer.is_closing()
            await writer.wait_closed()
        assert (made[0]._limit, reader._limit) == (1000, 2000)
        made.extend([reader, writer])

    run(loop, main())
    kinds = [ours.StreamReader, ours.StreamWriter, ours.StreamReaderProtocol, ours.StreamReader, ours.StreamWriter]
    assert [type(each) for each in made] == kinds


def test_large_messages_arrive_whole_and_in_order(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    sizes = [1, 100, 65_536, 1, 1_000_003, 5, 300_000]

    async def answer(reader: Any, writer: Any) -> None:
        while data := await reader.read(2**17):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await ours.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await ours.open_connection(*server.sockets[0].getsockname())
            for number, size in enumerate(sizes):
                writer.write(bytes([number]) * size)
            for number, size in enumerate(sizes):
                assert await reader.readexactly(size) == bytes([number]) * size
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(loop, main())


def test_a_writer_hands_everything_to_its_transport(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        writer, _, transport = connected(ours, loop)
        assert writer.write(b"a") is None
        assert writer.write(data=b"b") is None
        assert writer.writelines(each for each in (b"c", b"d")) is None
        assert transport.calls == [b"a", b"b", [b"c", b"d"]]
        assert writer.transport is transport
        assert await writer.drain() is None
        with pytest.raises(TypeError):
            writer.write()
        assert repr(writer).startswith("<StreamWriter transport=<")
        assert writer.is_closing() is False
        transport.close()
        assert writer.is_closing() is True

    run(loop, main())


def test_drain_waits_while_the_protocol_is_paused(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        writer, protocol, _ = connected(ours, loop)
        protocol.pause_writing()
        tasks = [stdlib.create_task(writer.drain()) for _ in range(3)]
        await stdlib.sleep(0)
        assert len(protocol._drain_waiters) == 3
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert len(protocol._drain_waiters) == 2
        protocol.resume_writing()
        assert await stdlib.gather(tasks[0], tasks[2]) == [None, None]
        assert not protocol._drain_waiters

    run(loop, main())


@pytest.mark.parametrize("error", [None, ConnectionAbortedError("lost")])
def test_drain_ends_with_the_connection(loop: asyncio.AbstractEventLoop, ours: Any, error: Any) -> None:
    async def main() -> None:
        writer, protocol, transport = connected(ours, loop)
        protocol.pause_writing()
        task = stdlib.create_task(writer.drain())
        await stdlib.sleep(0)
        transport.close()
        protocol.connection_lost(error)
        if error is None:
            await task
            expected: Any = ConnectionResetError
        else:
            with pytest.raises(ConnectionAbortedError) as raised:
                await task
            assert raised.value is error
            expected = ConnectionAbortedError
        with pytest.raises(expected, match=r"(?i)lost"):
            await writer.drain()
        with pytest.raises(ConnectionResetError, match=r"^Connection lost$"):
            await protocol._drain_helper()
        if error is None:
            await writer.wait_closed()

    run(loop, main())


def test_drain_of_a_closing_transport_lets_the_loop_turn(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        writer, protocol, transport = connected(ours, loop)
        transport.close()
        loop.call_soon(protocol.connection_lost, None)
        # The end is heard of before it looks.
        with pytest.raises(ConnectionResetError):
            await writer.drain()

    run(loop, main())


def test_drain_asks_a_protocol_of_a_programs(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    asked: list[str] = []

    class Protocol(ours.StreamReaderProtocol):  # type: ignore[misc]
        async def _drain_helper(self) -> None:
            asked.append("helper")
            await stdlib.sleep(0)
            await super()._drain_helper()

    async def main() -> None:
        writer, protocol, _ = connected(ours, loop, Protocol)
        await writer.drain()
        protocol.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        writer, protocol, _ = connected(ours, loop)

        async def helper() -> None:
            asked.append("set")

        protocol._drain_helper = helper
        await writer.drain()
        writer._reader = None
        await writer.drain()

    run(loop, main())
    assert asked == ["helper", "helper", "set", "set"]


def test_a_protocol_feeds_the_reader_that_it_has(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    class Reader(ours.StreamReader):  # type: ignore[misc]
        def feed_data(self, data: bytes) -> None:
            super().feed_data(data.upper())

    async def main() -> None:
        for kind, result in ((ours.StreamReader, b"abc"), (Reader, b"ABC"), (asyncio.StreamReader, b"abc")):
            reader = kind()
            protocol = ours.StreamReaderProtocol(reader)
            protocol.data_received(b"abc")
            assert await reader.read(10) == result
            fed: list[bytes] = []
            reader.feed_data = fed.append
            protocol.data_received(b"def")
            assert fed == [b"def"]
            del reader
            gc.collect()
            assert protocol._stream_reader is None
            protocol.data_received(b"nobody")
            protocol._stream_reader_wr = None
            protocol.data_received(b"nobody")
            protocol._stream_reader_wr = lambda: kind()
            protocol.data_received(b"another")

    run(loop, main())


def test_a_client_connected_callback_that_fails_is_reported(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))

    async def answer(reader: Any, writer: Any) -> None:
        await reader.readexactly(1)
        raise ZeroDivisionError

    async def main() -> None:
        async with await ours.start_server(answer, "127.0.0.1", 0) as server:
            reader, writer = await ours.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(loop, main())
    assert [report["message"] for report in reports] == ["Unhandled exception in client_connected_cb"]


def test_a_reset_ends_reads_and_drains(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        reader, writer = await ours.open_connection(*listener.getsockname())
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.send(b"before")
        task = stdlib.create_task(reader.readexactly(100))
        await stdlib.sleep(0.01)
        peer.close()
        listener.close()
        with pytest.raises(ConnectionResetError):
            await task
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()

    run(loop, main())


@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_shares_what_asyncios_shares(loop: asyncio.AbstractEventLoop, name: str) -> None:
    shown = []
    for namespace in (asyncio, ferrio.asyncio):
        writer, protocol, _ = connected(namespace, loop)
        reader = writer._reader
        reader.feed_data(b"abc")
        original = {"StreamReader": reader, "StreamWriter": writer, "StreamReaderProtocol": protocol}[name]
        original.note = "theirs"
        copied = copy.copy(original)
        state = copied.__reduce_ex__(2)[2]
        assert type(copied) is type(original)
        for key in state:
            assert getattr(copied, key) is getattr(original, key), key
        shown.append(set(state))
        writer.transport.close()
    assert shown[0] == shown[1]


def test_a_connection_that_nobody_keeps_is_collected(loop: asyncio.AbstractEventLoop, ours: Any) -> None:
    async def main() -> list[Any]:
        writer, protocol, transport = connected(ours, loop)
        reader = writer._reader
        reader.itself = writer
        protocol.writer = writer
        reader.feed_data(b"x" * 10)
        reader.feed_data(b"y" * 10_000)
        task = stdlib.create_task(reader.readexactly(100_000))
        await stdlib.sleep(0)
        task.cancel()
        await stdlib.wait([task])
        transport.close()
        return [weakref.ref(each) for each in (reader, writer, protocol, transport)]

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


INSTALLED = """
import asyncio
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter, open_connection, start_server

class Earlier(asyncio.StreamReader):
    pass

class Ended(asyncio.Transport):
    def is_closing(self):
        return True

import ferrio
ferrio.install()
import ferrio.asyncio

assert asyncio.StreamReader is asyncio.streams.StreamReader is ferrio.asyncio.StreamReader
assert asyncio.open_connection is ferrio.asyncio.open_connection

async def answer(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    for reader in (StreamReader(), Earlier(), asyncio.StreamReader()):
        assert isinstance(reader, asyncio.StreamReader)
        for protocol_class in (StreamReaderProtocol, asyncio.StreamReaderProtocol):
            for writer_class in (StreamWriter, asyncio.StreamWriter):
                protocol = protocol_class(reader)
                transport = Ended()
                protocol.connection_made(transport)
                writer_class(transport, protocol, reader, asyncio.get_running_loop())
                reader._transport = None
    for start in (start_server, asyncio.start_server):
        for connect in (open_connection, asyncio.open_connection):
            async with await start(answer, "127.0.0.1", 0) as server:
                reader, writer = await connect(*server.sockets[0].getsockname())
                writer.write(b"line\\n")
                assert await reader.read() == b"line\\n"
                writer.close()
                await writer.wait_closed()
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert type(process.stdout) is asyncio.StreamReader
    process.stdin.write(b"through a child\\n")
    await process.stdin.drain()
    assert await process.stdout.readline() == b"through a child\\n"
    assert await process.communicate(b"rest") == (b"rest", None)

asyncio.run(main())
ferrio.uninstall()
assert asyncio.StreamReader is StreamReader and asyncio.streams.StreamWriter is StreamWriter
"""


def test_streams_from_before_and_after_install_go_together() -> None:
    done = subprocess.run([sys.executable, "-c", INSTALLED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("method", ["is_closing", "write", "writelines"])
def test_a_writer_that_is_its_own_transport_ends_with_a_recursion_error(
    loop: asyncio.AbstractEventLoop, ours: Any, method: str
) -> None:
    writer = ours.StreamWriter(None, None, None, loop)
    writer._transport = writer
    with pytest.raises(RecursionError):
        getattr(writer, method)(*[[b"x"]][: method != "is_closing"])
    writer._transport = mock.Mock(is_closing=lambda: True)
