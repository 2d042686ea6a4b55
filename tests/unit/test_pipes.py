"""``connect_read_pipe`` and ``connect_write_pipe``: files of every kind, both ends, and cleaning up."""

import asyncio
import errno
import fcntl
import gc
import logging
import os
import pty
import re
import socket
import tty
from pathlib import Path
from typing import Any

import pytest

from .loops import LIMIT_S, ferrio_only, run, run_until, turn


class Reader(asyncio.Protocol):
    """Records its calls in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append(exc if exc is None else type(exc))

    @property
    def is_lost(self) -> bool:
        return len(self.events) > 1 and self.events[-1] != "eof"


class Writer(asyncio.BaseProtocol):
    """Records its calls in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append(exc if exc is None else type(exc))

    @property
    def is_lost(self) -> bool:
        return self.events[-1:] not in ([], ["made"], ["pause"], ["resume"])


def reader_of(loop: Any, file: Any) -> tuple[Any, Reader]:
    return run(loop, loop.connect_read_pipe(Reader, file))  # type: ignore[no-any-return]


def writer_of(loop: Any, file: Any) -> tuple[Any, Writer]:
    return run(loop, loop.connect_write_pipe(Writer, file))  # type: ignore[no-any-return]


def piped() -> tuple[Any, Any]:
    """The two ends of a pipe, as files."""
    reading, writing = os.pipe()
    return opened(reading, "rb"), opened(writing, "wb")


def opened(file: int | Path, mode: str) -> Any:
    """A file for a transport, which closes it."""
    return open(file, mode, 0)


def read_all(fd: int) -> bytes:
    """The current contents of a pipe."""
    os.set_blocking(fd, False)
    data = b""
    try:
        while block := os.read(fd, 1 << 20):
            data += block
    except BlockingIOError:
        pass
    return data


# --- reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100, 600, 4096, 20_000, 65_536])
def test_a_block_is_read_as_it_was_written(loop: Any, size: int) -> None:
    reading, writing = piped()
    _, protocol = reader_of(loop, reading)
    data = os.urandom(size)
    with writing:
        for _ in range(3):
            protocol.data = b""
            writing.write(data)
            run_until(loop, lambda: len(protocol.data) == size)
            assert protocol.data == data
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", "eof", None]
    assert reading.closed


def test_a_stream_of_mixed_blocks_arrives_whole(loop: Any) -> None:
    reading, writing = piped()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
    _, protocol = reader_of(loop, reading)
    sent = b""
    with writing:
        for size in [3, 70_000, 10, 500_000, 1, 300_000, 16_384, 16_383, 2]:
            block = os.urandom(size)
            sent += block
            writing.write(block)
            if size < 20:
                run_until(loop, lambda: len(protocol.data) == len(sent))
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.data == sent


def test_what_the_protocol_keeps_does_not_change(loop: Any) -> None:
    reading, writing = piped()
    kept: list[bytes] = []

    class Keeper(Reader):
        def data_received(self, data: bytes) -> None:
            kept.append(data)

    run(loop, loop.connect_read_pipe(Keeper, reading))
    blocks = [bytes([number]) * 1000 for number in range(20)]
    with writing:
        for number, block in enumerate(blocks):
            writing.write(block)
            run_until(loop, lambda number=number: len(kept) > number)
    turn(loop, 4)
    assert kept == blocks


def test_a_paused_reader_is_told_nothing_and_misses_nothing(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = reader_of(loop, reading)
    assert transport.is_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    with writing:
        writing.write(b"held back")
        turn(loop, 3)
        assert protocol.data == b""
        transport.resume_reading()
        transport.resume_reading()
        run_until(loop, lambda: protocol.data)
        assert protocol.data == b"held back"
    transport.pause_reading()
    turn(loop, 3)
    assert protocol.events == ["made"]
    transport.resume_reading()
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", "eof", None]


def test_pausing_in_data_received_stops_the_reading(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = reader_of(loop, reading)

    def pause(data: bytes) -> None:
        protocol.data += data
        transport.pause_reading()

    protocol.data_received = pause  # type: ignore[method-assign]
    with writing:
        writing.write(b"a" * 300)
        run_until(loop, lambda: protocol.data)
        writing.write(b"b")
        turn(loop, 3)
        assert protocol.data == b"a" * 300
        transport.resume_reading()
        run_until(loop, lambda: protocol.data.endswith(b"b"))
    transport.close()
    turn(loop, 2)


@pytest.mark.parametrize("closes_in_data_received", [False, True])
def test_a_reader_closed_from_here_is_closed_once(loop: Any, closes_in_data_received: bool) -> None:
    reading, writing = piped()
    transport, protocol = reader_of(loop, reading)

    def close(data: bytes = b"") -> None:
        transport.close()
        transport.close()

    protocol.data_received = close  # type: ignore[method-assign]
    with writing:
        writing.write(b"x")
        if not closes_in_data_received:
            close()
        run_until(loop, lambda: protocol.is_lost)
        transport.close()
        turn(loop, 2)
    assert protocol.events == ["made", None]
    assert transport.is_closing()
    assert reading.closed


def test_an_exception_in_data_received_goes_to_the_handler_and_reading_goes_on(
    loop: Any, contexts: list[dict[str, Any]]
) -> None:
    reading, writing = piped()
    _, protocol = reader_of(loop, reading)
    received = protocol.data_received

    def fail(data: bytes) -> None:
        protocol.data_received = received  # type: ignore[method-assign]
        raise ZeroDivisionError

    protocol.data_received = fail  # type: ignore[method-assign]
    with writing:
        writing.write(b"1")
        run_until(loop, lambda: contexts)
        writing.write(b"2")
        run_until(loop, lambda: protocol.data)
    assert protocol.data == b"2"
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    run_until(loop, lambda: protocol.is_lost)


def test_the_protocol_can_be_changed(loop: Any) -> None:
    reading, writing = piped()
    transport, first = reader_of(loop, reading)
    second = Reader()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    with writing:
        writing.write(b"x")
        run_until(loop, lambda: second.data)
    run_until(loop, lambda: second.is_lost)
    assert (first.data, first.events) == (b"", ["made"])
    assert second.events == ["eof", None]


def test_a_writer_that_comes_back_to_a_fifo_is_heard(loop: Any, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    transport, protocol = reader_of(loop, opened(path, "r+b"))
    for number in range(3):
        with open(path, "wb", 0) as writing:
            writing.write(b"%d" % number)
        run_until(loop, lambda number=number: len(protocol.data) > number)
    assert protocol.data == b"012"
    transport.close()
    turn(loop, 2)


# --- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_fits_is_in_the_pipe_when_write_returns(loop: Any, kind: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    with reading:
        transport.write(kind(b"at once"))
        transport.write(data=kind(b""))
        assert read_all(reading.fileno()) == b"at once"
        assert transport.get_write_buffer_size() == 0
        transport.writelines([kind(b"a"), kind(b"b")])
        assert read_all(reading.fileno()) == b"ab"
        transport.close()
        turn(loop, 2)
    assert protocol.events == ["made", None]
    assert writing.closed


def test_what_does_not_fit_is_sent_in_order_when_there_is_room(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    sent = b"".join(bytes([number]) * 50_000 for number in range(8))
    for start in range(0, len(sent), 50_000):
        transport.write(sent[start : start + 50_000])
    assert protocol.events == ["made", "pause"]
    assert transport.get_write_buffer_size() > 64 * 1024
    received = b""

    def read() -> bool:
        nonlocal received
        received += read_all(reading.fileno())
        return len(received) == len(sent)

    with reading:
        run_until(loop, read)
        assert received == sent
        assert protocol.events == ["made", "pause", "resume"]
        transport.write(b"more")
        assert read_all(reading.fileno()) == b"more"
        transport.close()
        turn(loop, 2)
    assert protocol.events[-1] is None


def test_limits_decide_when_the_writer_pauses(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    with reading:
        transport.write(bytes(65_536))
        assert protocol.events == ["made"]
        transport.write(b"x")
        assert protocol.events == ["made", "pause"]
        assert len(read_all(reading.fileno())) == 65_536
        run_until(loop, lambda: protocol.events[-1] == "resume")
        assert read_all(reading.fileno()) == b"x"
        transport.close()
        turn(loop, 2)


@pytest.mark.parametrize("ending", ["close", "write_eof"])
def test_closing_sends_what_is_waiting_first(loop: Any, ending: str) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    assert transport.can_write_eof()
    sent = os.urandom(200_000)
    transport.write(sent)
    getattr(transport, ending)()
    getattr(transport, ending)()
    assert transport.is_closing()
    turn(loop, 2)
    assert not protocol.is_lost
    received = b""
    with reading:
        os.set_blocking(reading.fileno(), False)
        end = loop.time() + LIMIT_S
        while (block := reading.read(1 << 20)) != b"":
            received += block or b""
            turn(loop)
            assert loop.time() < end
    assert received == sent
    assert protocol.events[-1] is None


def test_aborting_drops_what_is_waiting(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    transport.write(bytes(200_000))
    transport.abort()
    turn(loop, 2)
    assert protocol.events[-1] is None
    with reading:
        assert len(reading.read(1 << 20)) == 65_536
        assert reading.read(1) == b""


def test_an_idle_writer_hears_that_its_reader_has_gone(loop: Any) -> None:
    reading, writing = piped()
    _, protocol = writer_of(loop, writing)
    turn(loop, 2)
    reading.close()
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", None]


def test_a_waiting_writer_hears_that_its_reader_has_gone_with_an_error(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    transport.write(bytes(200_000))
    reading.close()
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", "pause", BrokenPipeError]


def test_writing_to_a_reader_that_has_gone_warns_from_the_fifth_time_on(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    reading.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(7):
            transport.write(b"x")
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == ["pipe closed by peer or os.write(pipe, data) raised exception."] * 2
    assert transport.is_closing()
    run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", BrokenPipeError]


def test_data_that_is_no_bytes_is_refused(loop: Any) -> None:
    reading, writing = piped()
    transport, _ = writer_of(loop, writing)
    with reading:
        with pytest.raises(AssertionError, match="text"):
            transport.write("text")
        with pytest.raises(TypeError):
            transport.write()
        transport.close()
        turn(loop, 2)


@ferrio_only
def test_a_writer_whose_file_was_closed_from_outside_writes_to_nobody(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    near, far = socket.socketpair()
    number = writing.fileno()
    writing.close()
    with near, far, reading:
        os.dup2(near.fileno(), number)
        transport.write(b"for the pipe")
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(100)
        os.close(number)
        run_until(loop, lambda: protocol.is_lost)
    assert protocol.events == ["made", OSError]


# --- kinds of files --------------------------------------------------------------------------------------------


def test_the_ends_of_a_socket_pair_are_pipes_too(loop: Any) -> None:
    near, far = socket.socketpair()
    writer, written = writer_of(loop, near)
    reader, read = reader_of(loop, far)
    data = os.urandom(500_000)
    writer.write(data)
    run_until(loop, lambda: len(read.data) == len(data))
    assert read.data == data
    writer.close()
    run_until(loop, lambda: read.is_lost)
    assert (written.events[-1], read.events) == (None, ["made", "eof", None])
    del reader


def test_a_terminal_is_read_and_written(loop: Any) -> None:
    try:
        leading, following = pty.openpty()
    except OSError as error:
        pytest.skip(f"this system has no pseudo terminals: {error}")
    tty.setraw(following)
    writer, _ = writer_of(loop, opened(leading, "wb"))
    reader, read = reader_of(loop, opened(following, "rb"))
    for block in [b"typed", b"x" * 1000]:
        read.data = b""
        writer.write(block)
        run_until(loop, lambda block=block: read.data == block)
    writer.close()
    # The other side of a terminal goes with an error or an end, depending on the kernel.
    run_until(loop, lambda: read.is_lost)
    assert read.events[-1] in (None, OSError)
    del reader


@pytest.mark.parametrize(
    ("method", "mode", "message"),
    [
        ("connect_read_pipe", "rb", "Pipe transport is for pipes/sockets only."),
        ("connect_write_pipe", "wb", "Pipe transport is only for pipes, sockets and character devices"),
    ],
)
def test_a_regular_file_is_refused(loop: Any, tmp_path: Path, method: str, mode: str, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open(path, mode) as file:
        with pytest.raises(ValueError, match=re.escape(message)):
            run(loop, getattr(loop, method)(asyncio.Protocol, file))
        assert not file.closed


def test_a_folder_is_refused(loop: Any, tmp_path: Path) -> None:
    number = os.open(tmp_path, os.O_RDONLY)

    class Folder:
        def fileno(self) -> int:
            return number

        def close(self) -> None:
            pass

    try:
        with pytest.raises(ValueError, match="Pipe transport is for"):
            run(loop, loop.connect_read_pipe(asyncio.Protocol, Folder()))
    finally:
        os.close(number)


@ferrio_only
def test_a_pipe_that_its_other_users_have_made_blocking_does_not_block_the_loop(loop: Any) -> None:
    reading, writing = piped()
    transport, protocol = writer_of(loop, writing)
    os.set_blocking(writing.fileno(), True)
    transport.write(bytes(65_536))
    loop.call_soon(transport.write, b"")
    with reading:
        try:
            os.preadv(reading.fileno(), [bytearray(1)], -1, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                pytest.skip("this kernel cannot promise not to wait for a pipe")
            raise
        transport.write(b"does not fit" * 10_000)
        assert transport.get_write_buffer_size() > 0
        transport.abort()
        turn(loop, 2)
    assert protocol.events[-1] is None


# --- what is left behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_forgotten_transport_is_collected_with_a_warning(loop: Any, kind: str) -> None:
    reading, writing = piped()
    mine, other = (reading, writing) if kind == "read" else (writing, reading)
    transport, protocol = (reader_of if kind == "read" else writer_of)(loop, mine)
    turn(loop, 2)
    if kind == "read":
        transport.pause_reading()
    else:
        loop._remove_reader(mine.fileno())
    del protocol
    with other:
        with pytest.warns(ResourceWarning, match="unclosed transport <.*fd="):
            del transport
            gc.collect()
        assert mine.closed


def test_the_repr_tells_the_state(loop: Any) -> None:
    reading, writing = piped()
    reader, _ = reader_of(loop, reading)
    writer, _ = writer_of(loop, writing)
    turn(loop, 2)
    assert re.fullmatch(r"<\w+ fd=\d+ polling>", repr(reader))
    assert re.fullmatch(r"<\w+ fd=\d+ idle bufsize=0>", repr(writer))
    writer.write(bytes(70_000))
    assert re.search(r"polling bufsize=4464>", repr(writer))
    reader.close()
    assert re.search(r"closing fd=\d+ idle>", repr(reader))
    writer.abort()
    turn(loop, 2)
    assert re.fullmatch(r"<\w+ closed fd=\d+ closed>", repr(reader))


def test_a_reused_number_belongs_to_the_new_pipe(loop: Any) -> None:
    for round_number in range(20):
        reading, writing = piped()
        number = reading.fileno()
        transport, first = reader_of(loop, reading)
        transport.close()
        turn(loop, 2)
        writing.close()
        again, writing = piped()
        assert again.fileno() == number
        transport, second = reader_of(loop, again)
        writing.write(b"%d" % round_number)
        run_until(loop, lambda second=second: second.data)
        assert (first.data, second.data) == (b"", b"%d" % round_number)
        writing.close()
        run_until(loop, lambda second=second: second.is_lost)


@ferrio_only
def test_the_bytes_of_pipes_are_counted(loop: Any) -> None:
    reading, writing = piped()
    writer, _ = writer_of(loop, writing)
    reader, read = reader_of(loop, reading)
    for size in [10, 30_000, 30_000]:
        writer.write(bytes(size))
        run_until(loop, lambda: len(read.data) in (10, 30_010, 60_010))
    run_until(loop, lambda: len(read.data) == 60_010)
    counted = loop.statistics()
    assert (counted.sent_bytes, counted.received_bytes) == (60_010, 60_010)
    writer.close()
    run_until(loop, lambda: read.is_lost)
    del reader
