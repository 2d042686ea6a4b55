"""Pipe transports turn by turn, their protocols' failures, calls after the end; subprocess transports."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import Noted, fail_with, turns


def piped() -> tuple[Any, Any]:
    reading, writing = os.pipe()
    return open(reading, "rb", 0), open(writing, "wb", 0)


def drained(file: Any) -> int:
    """Read a pipe until it is empty, and return the number of bytes."""
    os.set_blocking(file.fileno(), False)
    count = 0
    try:
        while block := os.read(file.fileno(), 1 << 20):
            count += len(block)
    except BlockingIOError:
        pass
    return count


def test_a_reader_turn_by_turn(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        reader = Noted(diary, "reader")
        transport, _ = await diary.loop.connect_read_pipe(lambda: reader, reading)
        diary.count_turns()
        await turns(2)
        for size in (1, 1000, 40_000, 1):
            writing.write(bytes(size))
            await turns(2)
        transport.pause_reading()
        diary("paused", transport.is_reading(), repr(transport))
        writing.write(b"x")
        await turns(3)
        transport.pause_reading()
        transport.resume_reading()
        transport.resume_reading()
        await turns(3)
        writing.close()
        await turns(4)
        diary("over", transport.is_closing(), transport.is_reading(), repr(transport), reading.closed)

    scenario_in_both_modes(play)


def test_a_writer_turn_by_turn(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        writer = Noted(diary, "writer")
        transport, _ = await diary.loop.connect_write_pipe(lambda: writer, writing)
        diary.count_turns()
        await turns(2)
        for data in (b"at once", bytearray(b"array"), memoryview(b"view"), b"", bytes(30_000)):
            transport.write(data)
            diary("written", transport.get_write_buffer_size(), drained(reading))
        transport.writelines([b"several", bytearray(b"lines")])
        diary("lines", drained(reading))
        for data in (bytes(100_000), b"more", bytearray(50_000)):
            transport.write(data)
            diary("waiting", transport.get_write_buffer_size())
        for _ in range(5):
            diary("read", drained(reading))
            await turns(2)
        diary("limits", transport.get_write_buffer_limits(), repr(transport))
        transport.set_write_buffer_limits(high=10, low=5)
        transport.write(bytes(65_536 + 20))
        await turns(2)
        diary("eof", transport.can_write_eof())
        transport.write_eof()
        transport.write(b"too late")
        for _ in range(3):
            diary("read", drained(reading), transport.is_closing())
            await turns(2)
        reading.close()
        await turns(2)
        diary("over", repr(transport), writing.closed)

    scenario_in_both_modes(play)


ENDINGS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "write_eof": lambda transport: transport.write_eof(),
    "abort": lambda transport: transport.abort(),
    "close twice": lambda transport: (transport.close(), transport.close()),
    "abort twice": lambda transport: (transport.abort(), transport.abort()),
    "close and abort": lambda transport: (transport.close(), transport.abort()),
}


@pytest.mark.parametrize("waiting", [0, 100_000])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ways_to_end_a_writer(scenario: Play, ending: str, waiting: int) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        writer = Noted(diary, "writer")
        transport, _ = await diary.loop.connect_write_pipe(lambda: writer, writing)
        diary.count_turns()
        await turns(2)
        transport.write(bytes(waiting))
        ENDINGS[ending](transport)
        await turns(3)
        diary("read", drained(reading))
        await turns(3)
        diary("read", drained(reading))
        await turns(3)
        reading.close()
        await turns(3)

    scenario(play)


@pytest.mark.parametrize("waiting", [0, 100_000])
@pytest.mark.parametrize("is_socket", [False, True])
def test_a_reader_that_goes(scenario_in_both_modes: Play, waiting: int, is_socket: bool) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = socket.socketpair() if is_socket else piped()
        writer = Noted(diary, "writer")
        transport, _ = await diary.loop.connect_write_pipe(lambda: writer, writing)
        diary.count_turns()
        await turns(2)
        transport.write(bytes(waiting))
        reading.close()
        for _ in range(8):
            transport.write(b"x")
        await turns(4)

    scenario_in_both_modes(play)


@pytest.mark.parametrize("event", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_a_reading_protocol_that_fails(scenario: Play, event: str) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        reader = Noted(diary, "reader", at={event: fail_with(ZeroDivisionError("on purpose"))})
        transport, _ = await diary.loop.connect_read_pipe(lambda: reader, reading)
        diary.count_turns()
        await turns(2)
        for _ in range(2):
            writing.write(b"x")
            await turns(2)
        writing.close()
        await turns(4)
        diary("over", transport.is_closing(), reading.closed)

    scenario(play)


@pytest.mark.parametrize("event", ["connection_made", "pause_writing", "resume_writing", "connection_lost"])
def test_a_writing_protocol_that_fails(scenario: Play, event: str) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        writer = Noted(diary, "writer", at={event: fail_with(ZeroDivisionError("on purpose"))})
        transport, _ = await diary.loop.connect_write_pipe(lambda: writer, writing)
        diary.count_turns()
        await turns(2)
        transport.write(bytes(200_000))
        for _ in range(5):
            diary("read", drained(reading))
            await turns(2)
        transport.close()
        await turns(3)
        reading.close()
        diary("over", writing.closed)

    scenario(play)


def test_what_a_protocol_does_while_it_is_called(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        for act in ("close", "pause_reading"):
            reading, writing = piped()
            reader = Noted(diary, act, at={"data_received": lambda transport, act=act: getattr(transport, act)()})
            transport, _ = await diary.loop.connect_read_pipe(lambda reader=reader: reader, reading)
            await turns(2)
            writing.write(b"x")
            await turns(3)
            diary("after", transport.is_closing(), transport.is_reading())
            transport.close()
            transport.close()
            await turns(2)
            writing.close()

    scenario(play)


def test_calls_after_the_end(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        reading, writing = piped()
        reader, writer = Noted(diary, "reader"), Noted(diary, "writer")
        read, _ = await diary.loop.connect_read_pipe(lambda: reader, reading)
        write, _ = await diary.loop.connect_write_pipe(lambda: writer, writing)
        await turns(2)
        write.close()
        await turns(8)
        for name, transport, methods in [
            ("read", read, ["pause_reading", "resume_reading", "close", "is_reading", "is_closing", "get_protocol"]),
            ("write", write, ["close", "write_eof", "is_closing", "get_write_buffer_size", "get_protocol", "abort"]),
        ]:
            for method in methods:
                with diary.raises(name, method):
                    diary(name, method, getattr(transport, method)())
        for _ in range(7):
            with diary.raises("write"):
                write.write(b"x")
        with diary.raises("text"):
            write.write("text")
        await turns(2)

    scenario(play)


def test_files_that_are_no_pipes(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        with open("/bin/sh", "rb") as regular:
            for method in ("connect_read_pipe", "connect_write_pipe"):
                for name, file in [("regular", regular), ("number", 0), ("None", None)]:
                    with diary.raises(method, name):
                        await getattr(loop, method)(lambda: Noted(diary, "none"), file)

    scenario_in_both_modes(play)


def test_two_ends_and_much_between_them(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        received = bytearray()

        class Reader(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                received.extend(data)

            def connection_lost(self, exc: Exception | None) -> None:
                over.set_result(exc)

        over = diary.loop.create_future()
        reading, writing = piped()
        await diary.loop.connect_read_pipe(Reader, reading)
        transport, protocol = await diary.loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(diary.loop), writing
        )
        writer = asyncio.StreamWriter(transport, protocol, None, diary.loop)
        sent = os.urandom(1_000_003)
        for start in range(0, len(sent), 33_333):
            writer.write(sent[start : start + 33_333])
            await writer.drain()
        writer.close()
        diary("over", await over, bytes(received) == sent)

    scenario(play)


class Child(asyncio.SubprocessProtocol):
    """Writes down its calls, in order for each pipe."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.over: asyncio.Future[None] = diary.loop.create_future()
        self.heard: dict[Any, list[Any]] = {}

    def note(self, what: Any, *details: Any) -> None:
        self.heard.setdefault(what, []).append(details)

    def connection_made(self, transport: Any) -> None:
        self.diary("made", isinstance(transport, asyncio.SubprocessTransport))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.note(fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.note(fd, "lost", repr(exc))

    def process_exited(self) -> None:
        self.note("process", "exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("process", "lost", exc)
        for what in sorted(self.heard, key=str):
            self.diary("heard", what, self.heard[what])
        self.over.set_result(None)


@pytest.mark.parametrize("script", ["cat", "cat; echo error >&2; exit 9", "read line; echo $line; kill -9 $$"])
def test_what_a_subprocess_protocol_hears(scenario: Play, script: str) -> None:
    async def play(diary: Diary) -> None:
        child = Child(diary)
        transport, _ = await diary.loop.subprocess_shell(lambda: child, script)
        diary("running", transport.get_returncode(), transport.is_closing())
        for fd in range(4):
            diary("pipe", fd, type(transport.get_pipe_transport(fd)) is not type(None))
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"a line\n")
        stdin.close()
        await child.over
        diary("ended", transport.get_returncode())
        for act in (transport.kill, transport.terminate, lambda: transport.send_signal(0)):
            with diary.raises("signal"):
                act()
        transport.close()
        transport.close()
        diary("closed", transport.is_closing())

    observed = scenario(play)
    assert any("ended" in str(entry) for entry in observed.events)


def test_the_end_by_closing(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        child = Child(diary)
        transport, _ = await diary.loop.subprocess_exec(lambda: child, "sleep", "30")
        transport.close()
        await child.over
        diary("ended", transport.get_returncode())

    scenario_in_both_modes(play)


def test_arguments_that_are_refused(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        for arguments, options in [
            (["true"], {"universal_newlines": True}),
            (["true"], {"shell": True}),
            (["true"], {"bufsize": 1}),
            (["true"], {"nonsense": 1}),
            (["true", 1], {}),
            ([1], {}),
            ([], {}),
            (["tr\0ue"], {}),
            (["true"], {"cwd": "/no/such/folder"}),
            (["true"], {"env": {"a=b": "c"}}),
            (["true"], {"stdin": 99_999}),
            (["true"], {"preexec_fn": lambda: 1 // 0}),
            (["/etc"], {}),
        ]:
            with diary.raises("exec", repr(arguments)):
                await loop.subprocess_exec(asyncio.SubprocessProtocol, *arguments, **options)
        for command in (1, None, ["true"]):
            with diary.raises("shell", repr(command)):
                await loop.subprocess_shell(asyncio.SubprocessProtocol, command)

    scenario(play)
