"""Every error of streams, and what is left afterwards: stock classes and Ferrio's namespace show what asyncio shows."""

import asyncio
import contextlib
import gc
import socket
import sys
from typing import Any

import pytest

from frameworks.certificates import Certificates
from unit.socket_pairs import tcp_pair

from .observation import Diary, Observation, in_words
from .protocols import reset, turns
from .streams import NAMESPACES, Played, StreamScenario, noted, same_in, started, state, under_test

TUPLES = sys.version_info >= (3, 13)

READINGS: dict[str, Any] = {
    "read": lambda reader: reader.read(100),
    "read to the end": lambda reader: reader.read(),
    "readline": lambda reader: reader.readline(),
    "readexactly": lambda reader: reader.readexactly(6),
    "readuntil": lambda reader: reader.readuntil(b"\r\n"),
    "next line": lambda reader: anext(reader),
}
each_reading = pytest.mark.parametrize("reading", READINGS)


@pytest.fixture(params=NAMESPACES)
def streams(request: pytest.FixtureRequest) -> Played:
    """Plays a scenario with asyncio's classes on both loops, or with Ferrio's namespace on its own."""

    def play(scenario: StreamScenario) -> Observation:
        return same_in(under_test(request.param), scenario)

    return play


def fed(asyncio: Any, *chunks: bytes, limit: int = 2**16, ended: bool = False) -> Any:
    """Make a reader that holds *chunks*."""
    reader = asyncio.StreamReader(limit=limit, loop=asyncio.get_running_loop())
    for chunk in chunks:
        reader.feed_data(chunk)
    if ended:
        reader.feed_eof()
    return reader


async def connected(asyncio: Any, *, tcp: bool = False, limit: int = 2**16) -> tuple[Any, Any, socket.socket]:
    """Connect a stream to a plain, non-blocking socket: reader, writer, that socket."""
    ours, peer = tcp_pair() if tcp else socket.socketpair()
    peer.setblocking(False)
    return *await asyncio.open_connection(sock=ours, limit=limit), peer


async def closed(writer: Any, *peers: socket.socket) -> None:
    for peer in peers:
        peer.close()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


# --- limits and separators --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\nrest", b"\r\n"])
@pytest.mark.parametrize("size", [9, 10, 11, 12, 25])
def test_lines_at_and_around_the_limit(streams: Played, size: int, end: bytes) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        for name in ("readline", "readuntil", "next line"):
            reader = fed(asyncio, b"x" * size + end, limit=10)
            reading = started(diary, name, READINGS[name](reader))
            await turns(3)
            diary("state", state(reader))
            reader.feed_eof()
            await reading
            diary("state", state(reader))
            await noted(diary, "rest", reader.read())

    streams(play)


def test_a_limit_that_is_exceeded_piece_by_piece(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        for name in ("readline", "readuntil"):
            reader = fed(asyncio, limit=4)
            reading = started(diary, name, READINGS[name](reader))
            for chunk in (b"ab", b"cd", b"e", b"f\r", b"\ng\r\n"):
                reader.feed_data(chunk)
                await turns(2)
                diary("state", reading.done(), state(reader))
            await noted(diary, "again", READINGS[name](reader))
            reader.feed_eof()
            await noted(diary, "rest", reader.read())

    streams(play)


@pytest.mark.parametrize(
    "separator",
    [
        *(b"", "", "\n", None, 10, bytearray(b"::"), memoryview(b"::"), b"::::::::::::::::::::"),
        *([(), (b"",), (b":", b""), (b"::", b":"), (b":;", b"x::", b";"), ("a", b":"), [b":"]] if TUPLES else []),
    ],
    ids=lambda separator: in_words(repr(separator)),
)
def test_separators_of_every_kind(streams: Played, separator: Any) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        for chunks in ([b"ab::cd:;"], [b"ab:", b":cd", b":;"], [b":", b":;"]):
            for limit in (1, 3, 100):
                reader = fed(asyncio, *chunks, limit=limit, ended=True)
                for _ in range(4):
                    await noted(diary, "readuntil", reader.readuntil(separator))
                    diary("state", state(reader))

    streams(play)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_none(streams: Played, limit: int) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        with diary.raises("making"):
            asyncio.StreamReader(limit=limit)

    streams(play)


# --- ends -------------------------------------------------------------------------------------------------------------


@each_reading
@pytest.mark.parametrize("left", [b"", b"abc", b"abcdef", b"abcdefgh", b"ab\r\ncd", b"ab\r"])
def test_the_end_while_somebody_reads(streams: Played, left: bytes, reading: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        first = started(diary, "first", READINGS[reading](reader))
        await turns(2)
        peer.send(left)
        await turns(3)
        diary("state", first.done(), state(reader))
        peer.shutdown(socket.SHUT_WR)
        await first
        diary("state", state(reader))
        for _ in range(2):
            await noted(diary, "again", READINGS[reading](reader))
        diary("state", state(reader), reader._transport.is_closing())
        await closed(writer, peer)

    streams(play)


def test_sizes_that_are_odd(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        for size in (-2, -1, 0, 1, True, 10**30, 1.5, "1", None):
            for name in ("read", "readexactly"):
                reader = fed(asyncio, b"abc", ended=True)
                await noted(diary, f"{name} {size!r}", getattr(reader, name)(size))
                diary("state", state(reader))

    streams(play)


def test_what_may_not_be_fed(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader = fed(asyncio, b"a", ended=True)
        for data in (b"b", b"", "text", 5, None):
            with diary.raises(f"after the end: {data!r}"):
                reader.feed_data(data)
        reader = fed(asyncio, bytearray(b"a"), memoryview(b"bc"), [100, 101])
        for data in ("text", 5, None, [256]):
            with diary.raises(f"{data!r}"):
                reader.feed_data(data)
        diary("state", state(reader))
        reader.set_transport(object())
        with diary.raises("a second transport"):
            reader.set_transport(object())
        reader.feed_eof()
        reader.feed_eof()
        await noted(diary, "all", reader.read())

    streams(play)


@each_reading
def test_an_exception_that_was_set(streams: Played, reading: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        for held in (b"", b"abcdef\r\n"):
            reader = fed(asyncio, held)
            reader.set_exception(LookupError("set before"))
            await noted(diary, "before", READINGS[reading](reader))
            await noted(diary, "read nothing", reader.read(0))
            await noted(diary, "read exactly nothing", reader.readexactly(0))
            diary("state", state(reader))
        reader = fed(asyncio)
        waiting = started(diary, "during", READINGS[reading](reader))
        await turns(2)
        reader.set_exception(LookupError("set meanwhile"))
        await waiting
        diary("state", state(reader))

    streams(play)


# --- cancelled, and two at a time -------------------------------------------------------------------------------------


@each_reading
@pytest.mark.parametrize("when", ["before the bytes", "in the same turn", "after the bytes"])
def test_a_cancelled_reading_loses_no_byte(streams: Played, reading: str, when: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        task = started(diary, "cancelled", READINGS[reading](reader))
        await turns(2)
        peer.send(b"abc")
        await turns(3 if when == "after the bytes" else 0)
        if when == "in the same turn":
            diary.loop.call_soon(task.cancel, "by the scenario")
        else:
            task.cancel("by the scenario")
        await turns(4)
        diary("state", task.done(), state(reader))
        peer.send(b"def\r\n")
        peer.shutdown(socket.SHUT_WR)
        await noted(diary, "all", reader.read())
        await closed(writer, peer)

    streams(play)


@each_reading
@pytest.mark.parametrize("second", READINGS)
def test_two_readings_at_a_time(streams: Played, reading: str, second: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        first = started(diary, "first", READINGS[reading](reader))
        await turns(2)
        await noted(diary, "second", READINGS[second](reader))
        diary("state", first.done(), state(reader))
        peer.send(b"abcdef\r\n")
        peer.shutdown(socket.SHUT_WR)
        await first
        await noted(diary, "rest", reader.read())
        await closed(writer, peer)

    streams(play)


# --- resets -----------------------------------------------------------------------------------------------------------


@each_reading
def test_a_reset_while_somebody_reads(streams: Played, reading: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio, tcp=True)
        waiting = started(diary, "during", READINGS[reading](reader))
        await turns(2)
        reset(peer)
        await waiting
        await noted(diary, "again", READINGS[reading](reader))
        diary("state", state(reader), writer.is_closing())
        for _ in range(2):
            writer.write(b"late")
            await noted(diary, "drain", writer.drain())
        for _ in range(2):
            await noted(diary, "wait_closed", writer.wait_closed())
        writer.close()
        await noted(diary, "wait_closed", writer.wait_closed())

    streams(play)


def test_a_reset_while_writers_wait_for_room(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio, tcp=True)
        writer.write(b"x" * 20_000_000)
        draining = [started(diary, f"drain {number}", writer.drain()) for number in range(3)]
        await turns(3)
        draining[1].cancel()
        await turns(3)
        diary("done", [task.done() for task in draining])
        reset(peer)
        await asyncio.wait(draining)
        await noted(diary, "drain", writer.drain())
        await noted(diary, "read", reader.read(1))
        await noted(diary, "wait_closed", writer.wait_closed())

    streams(play)


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_writer_that_was_closed(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        waiting = started(diary, "waiting", reader.readline())
        await turns(2)
        diary("before", writer.is_closing(), writer.can_write_eof())
        writer.write(b"last")
        writer.close()
        diary("after", writer.is_closing())
        # What asyncio's `writelines` does here is an accident of some releases.
        for name, args in {"write": (b"late",), "write_eof": (), "close": ()}.items():
            with diary.raises(name):
                getattr(writer, name)(*args)
        await noted(diary, "drain", writer.drain())
        await waiting
        for _ in range(2):
            await noted(diary, "wait_closed", writer.wait_closed())
        await noted(diary, "drain", writer.drain())
        diary("state", state(reader), peer.recv(100))
        peer.close()

    streams(play)


def test_a_writer_that_has_sent_its_end(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        writer.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        writer.write_eof()
        for name, args in {"write": (b"late",), "writelines": ([b"late"],), "write_eof": ()}.items():
            with diary.raises(name):
                getattr(writer, name)(*args)
        await noted(diary, "drain", writer.drain())
        await turns(2)
        diary("sent", peer.recv(100), peer.recv(100))
        peer.send(b"answer\n")
        await noted(diary, "line", reader.readline())
        peer.close()
        await noted(diary, "end", reader.read())
        await closed(writer)

    streams(play)


def test_what_cannot_be_written(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        _, writer, peer = await connected(asyncio)
        for data in ("text", None, 5, [1]):
            with diary.raises(f"write {data!r}"):
                writer.write(data)
        # After such an error asyncio's transport of 3.15 never finishes closing.
        if sys.version_info < (3, 15):
            with diary.raises("writelines"):
                writer.writelines([b"fine", "text"])
        writer.write(b"")
        await noted(diary, "drain", writer.drain())
        diary("info", writer.get_extra_info("none"), writer.get_extra_info("none", 5), writer.transport is not None)
        await closed(writer, peer)

    streams(play)


def test_a_wait_for_the_end_is_cancelled(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        _, writer, peer = await connected(asyncio)
        waiting = [started(diary, f"wait_closed {number}", writer.wait_closed()) for number in range(2)]
        await turns(2)
        waiting[0].cancel()
        await turns(2)
        diary("done", [task.done() for task in waiting])
        await closed(writer, peer)
        await turns(2)
        diary("done", [task.done() for task in waiting])

    streams(play)


def test_a_writer_that_is_forgotten(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader, writer, peer = await connected(asyncio)
        diary("writer", repr(writer).split(" ")[0])
        del reader, writer
        gc.collect()
        await turns(5)
        with diary.raises("the other side"):
            diary("received", peer.recv(10))
        peer.close()

    streams(play)


# --- how they look, and how they are made -----------------------------------------------------------------------------


def test_how_a_reader_looks(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        diary("new", repr(fed(asyncio)))
        diary("full", repr(fed(asyncio, b"abc", limit=10, ended=True)))
        reader = fed(asyncio)
        waiting = started(diary, "waiting", reader.read(1))
        await turns(2)
        diary("waited for", repr(reader).split("=")[0])
        reader.set_exception(LookupError("set"))
        await waiting
        diary("failed", repr(reader))

    streams(play)


def test_a_loop_over_lines(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        reader = fed(asyncio, b"one\n\ntwo\r\nrest", ended=True)
        async for line in reader:
            diary("line", line)
        reader = fed(asyncio, b"one\n" + b"x" * 30 + b"\nlast\n", limit=10, ended=True)
        with diary.raises("too long"):
            async for line in reader:
                diary("line", line)
        diary("state", state(reader))

    streams(play)


@pytest.mark.parametrize("handler", ["a coroutine", "a function", "one that fails", "one that is cancelled"])
def test_what_serves_a_connection(streams: Played, handler: str) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        served = asyncio.Event()

        def answer(reader: Any, writer: Any) -> None:
            writer.write(b"answer\n")
            writer.close()
            served.set()

        async def answer_later(reader: Any, writer: Any) -> None:
            diary("line", await reader.readline())
            served.set()
            if handler == "one that fails":
                raise LookupError("the handler's")
            if handler == "one that is cancelled":
                raise asyncio.CancelledError("itself")
            answer(reader, writer)

        server = await asyncio.start_server(answer if handler == "a function" else answer_later, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"question\n")
        await served.wait()
        await turns(5)
        gc.collect()
        await turns(2)
        if handler != "one that is cancelled":
            with contextlib.suppress(ConnectionResetError):
                await noted(diary, "answer", reader.readline())
        await closed(writer)
        server.close()
        await turns(5)

    streams(play)


def test_connecting_in_vain(streams: Played) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        await noted(diary, "refused", asyncio.open_connection("127.0.0.1", 1))
        await noted(diary, "no path", asyncio.open_unix_connection("/nonexistent/socket"))
        await noted(diary, "a limit", asyncio.open_connection("127.0.0.1", 1, limit=0))
        await noted(diary, "no place", asyncio.start_unix_server(lambda *_: None, "/nonexistent/socket"))
        await noted(diary, "no handler", asyncio.open_connection())

    streams(play)


# --- start_tls --------------------------------------------------------------------------------------------------------


def test_a_connection_that_becomes_encrypted(streams: Played, certificates: Certificates) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        async def handle(reader: Any, writer: Any) -> None:
            await noted(diary, "plain", reader.readline())
            writer.write(b"go on\n")
            await writer.drain()
            await writer.start_tls(certificates.server_context())
            await noted(diary, "secret", reader.readline())
            writer.write(b"done\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        await noted(diary, "answer", reader.readline())
        await writer.start_tls(certificates.client_context(), server_hostname="localhost")
        diary("encrypted", writer.get_extra_info("cipher")[0], writer.can_write_eof(), writer.is_closing())
        writer.write(b"whisper\n")
        await noted(diary, "answer", reader.readline())
        await noted(diary, "end", reader.read())
        await closed(writer)
        server.close()
        await turns(10)

    streams(play)


def test_an_encryption_that_fails(streams: Played, certificates: Certificates) -> None:
    async def play(diary: Diary, asyncio: Any) -> None:
        async def handle(reader: Any, writer: Any) -> None:
            await noted(diary, "server", writer.start_tls(certificates.server_context()))
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        starting = writer.start_tls(certificates.client_context(), server_hostname="else.where")
        await noted(diary, "client", starting)
        await noted(diary, "read", reader.read(1))
        await closed(writer)
        await turns(10)
        server.close()
        await turns(10)

    streams(play)


def test_what_is_compared_has_the_fields_of_streams_errors() -> None:
    async def play(diary: Diary, module: Any) -> None:
        reader = fed(module, b"abc", ended=True)
        await noted(diary, "exactly", reader.readexactly(5))

    ((_, told),) = same_in(asyncio, play).entries
    assert (told["partial"], told["expected"]) == (b"abc", 5)
