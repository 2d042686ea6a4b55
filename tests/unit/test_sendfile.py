"""``sendfile`` and ``sock_sendfile``: what arrives, where the file stands afterwards, fallbacks, cancelling."""

import asyncio
import io
import random
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from frameworks.certificates import Certificates

from .connections import Connection, Recorder, connect
from .loops import run, run_until, turn
from .socket_pairs import Pair, tcp_pair, without_blocking
from .test_tls import connected

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20
CONTENT = random.Random(7).randbytes(5 * MIB)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


class OnlyReads:
    """A file without a descriptor, which the kernel cannot send."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self.readinto = self._file.readinto
        self.seek = self._file.seek
        self.tell = self._file.tell


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with without_blocking(request.param()) as ends:
        yield ends


async def receive(loop: Loop, sock: socket.socket, count: int) -> bytes:
    """Receive *count* bytes, or fewer if the stream ends first."""
    parts: list[bytes] = []
    while count > 0 and (data := await loop.sock_recv(sock, min(count, MIB))):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


PARTS: dict[str, tuple[dict[str, Any], slice]] = {
    "everything": ({}, slice(None)),
    "from an offset": ({"offset": 1000}, slice(1000, None)),
    "a count": ({"count": 3 * MIB}, slice(3 * MIB)),
    "a count from an offset": ({"offset": 7, "count": 11}, slice(7, 18)),
    "more than there is": ({"offset": 4 * MIB, "count": 4 * MIB}, slice(4 * MIB, None)),
    "beyond the end": ({"offset": 6 * MIB}, slice(0)),
}


# --- sock_sendfile ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "fallback"])
@pytest.mark.parametrize(("options", "part"), PARTS.values(), ids=PARTS)
def test_a_part_of_a_file_over_a_socket(
    loop: Loop, pair: Pair, file: Any, options: dict[str, Any], part: slice, kernel: bool
) -> None:
    ours, theirs = pair
    expected = CONTENT[part]
    source = file if kernel else OnlyReads(CONTENT)

    async def main() -> None:
        receiving = asyncio.ensure_future(receive(loop, theirs, len(expected)))
        assert await loop.sock_sendfile(ours, source, fallback=not kernel, **options) == len(expected)
        assert await receiving == expected

    run(loop, main())
    if expected:
        assert source.tell() == options.get("offset", 0) + len(expected)


def test_what_the_socket_takes_at_once_is_sent_before_the_first_turn(loop: Loop, pair: Pair, file: Any) -> None:
    task = loop.create_task(loop.sock_sendfile(pair[0], file, 0, 100))
    turn(loop)
    assert pair[1].recv(200) == CONTENT[:100]
    assert loop.run_until_complete(task) == 100


def test_a_socket_sends_files_and_bytes_in_turns(loop: Loop, pair: Pair, file: Any) -> None:
    ours, theirs = pair

    async def main() -> None:
        expected = b"".join([b"head", CONTENT, b"tail"] * 3)
        receiving = asyncio.ensure_future(receive(loop, theirs, len(expected)))
        for _ in range(3):
            await loop.sock_sendall(ours, b"head")
            await loop.sock_sendfile(ours, file)
            await loop.sock_sendall(ours, b"tail")
        assert await receiving == expected

    run(loop, main())


def test_a_receive_waits_beside_a_file_that_is_sent(loop: Loop, pair: Pair, file: Any) -> None:
    ours, theirs = pair

    async def main() -> None:
        answer = asyncio.ensure_future(loop.sock_recv(ours, 10))
        sending = asyncio.ensure_future(loop.sock_sendfile(ours, file))
        await asyncio.sleep(0)
        assert await receive(loop, theirs, len(CONTENT)) == CONTENT
        await sending
        assert not answer.done()
        await loop.sock_sendall(theirs, b"thanks")
        assert await answer == b"thanks"

    run(loop, main())


def test_a_cancelled_file_leaves_no_registration(loop: Loop, pair: Pair, file: Any) -> None:
    ours, theirs = pair
    task = loop.create_task(loop.sock_sendfile(ours, file))
    turn(loop, 2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    turn(loop)
    assert not loop.remove_writer(ours)

    async def main() -> bytes:
        # The part that had been sent, and what follows it on the same socket.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sending = asyncio.ensure_future(loop.sock_sendall(ours, b"after"))
        got = bytearray()
        while not got.endswith(b"after"):
            got += await loop.sock_recv(theirs, MIB)
        await sending
        return bytes(got)

    got = run(loop, main())
    assert got == CONTENT[: len(got) - 5] + b"after"


def test_a_peer_that_goes_ends_the_file(loop: Loop, file: Any) -> None:
    ours, theirs = tcp_pair()
    with ours:
        ours.setblocking(False)
        task = loop.create_task(loop.sock_sendfile(ours, file))
        turn(loop, 2)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        with pytest.raises(ConnectionError):
            loop.run_until_complete(task)
        assert not loop.remove_writer(ours)


@pytest.mark.parametrize("make", [io.BytesIO, OnlyReads])
def test_what_the_kernel_cannot_send_needs_the_fallback(loop: Loop, pair: Pair, make: Callable[[bytes], Any]) -> None:
    source = make(b"abc")

    async def send(**options: bool) -> int:
        return await loop.sock_sendfile(pair[0], source, **options)

    with pytest.raises(asyncio.SendfileNotAvailableError, match=r"^not a regular file$"):
        run(loop, send(fallback=False))
    assert run(loop, send()) == 3
    assert pair[1].recv(10) == b"abc"


def test_an_empty_file_sends_nothing(loop: Loop, pair: Pair) -> None:
    async def main() -> int:
        with tempfile.TemporaryFile() as empty:
            return await loop.sock_sendfile(pair[0], empty)

    assert run(loop, main()) == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"offset": -1}, ValueError, "offset must be a non-negative integer"),
        ({"offset": "1"}, TypeError, "offset must be a non-negative integer"),
        ({"count": 0}, ValueError, "count must be a positive integer"),
        ({"count": 1.5}, TypeError, "count must be a positive integer"),
    ],
)
def test_arguments_that_are_refused(
    loop: Loop, pair: Pair, file: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    async def main() -> None:
        await loop.sock_sendfile(pair[0], file, **options)

    with pytest.raises(error, match=f"^{text}"):
        run(loop, main())


def test_datagrams_and_text_are_refused(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    async def main() -> None:
        in_text = pytest.raises(ValueError, match=r"^file should be opened in binary mode$")
        with (tmp_path / "text").open("w") as text, in_text:
            await loop.sock_sendfile(pair[0], text)
        of_datagrams = pytest.raises(ValueError, match=r"^only SOCK_STREAM type sockets are supported$")
        with socket.socket(type=socket.SOCK_DGRAM) as sock, tempfile.TemporaryFile() as empty, of_datagrams:
            await loop.sock_sendfile(sock, empty)

    run(loop, main())


# --- sendfile over transports -------------------------------------------------------------------------------


def all_of(connection: Connection[Recorder], main: Callable[[], Any], expected: bytes) -> None:
    """Run *main* while the peer receives *expected*."""
    task = connection.loop.create_task(main())
    assert connection.receive(len(expected)) == expected
    connection.loop.run_until_complete(task)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "fallback"])
@pytest.mark.parametrize(("options", "part"), PARTS.values(), ids=PARTS)
def test_a_part_of_a_file_over_a_transport(
    loop: Loop, file: Any, options: dict[str, Any], part: slice, kernel: bool
) -> None:
    connection = connect(loop, pair=tcp_pair)
    expected = CONTENT[part]
    source = file if kernel else OnlyReads(CONTENT)

    async def main() -> None:
        sent = await loop.sendfile(connection.transport, source, fallback=not kernel, **options)
        assert sent == len(expected)
        connection.transport.write(b"end")

    all_of(connection, main, expected + b"end")
    if expected:
        assert source.tell() == options.get("offset", 0) + len(expected)
    connection.end()


@pytest.mark.parametrize("paused", [False, True])
def test_reading_goes_on_afterwards_as_before(loop: Loop, file: Any, paused: bool) -> None:
    connection = connect(loop, pair=tcp_pair)
    if paused:
        connection.transport.pause_reading()
    connection.peer.sendall(b"during")

    async def main() -> None:
        await loop.sendfile(connection.transport, file)

    all_of(connection, main, CONTENT)
    assert connection.transport.is_reading() != paused
    if paused:
        turn(loop, 3)
        assert connection.protocol.received == b""
        connection.transport.resume_reading()
    run_until(loop, lambda: connection.protocol.received == b"during")
    connection.peer.sendall(b" and after")
    run_until(loop, lambda: connection.protocol.received == b"during and after")
    connection.end()


def test_a_file_waits_for_what_was_written_before(loop: Loop, file: Any) -> None:
    connection = connect(loop, pair=tcp_pair)
    head = random.Random(8).randbytes(4 * MIB)

    async def main() -> None:
        connection.transport.write(head)
        assert connection.transport.get_write_buffer_size()
        await loop.sendfile(connection.transport, file, fallback=False)

    all_of(connection, main, head + CONTENT)
    connection.end()


def test_a_closing_transport_sends_no_file(loop: Loop, file: Any) -> None:
    connection = connect(loop)

    async def main() -> None:
        connection.transport.close()
        with pytest.raises(RuntimeError, match=r"^Transport is closing$"):
            await loop.sendfile(connection.transport, file)

    run(loop, main())
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)


@pytest.mark.parametrize("method", ["close", "abort"])
def test_a_transport_that_is_closed_while_it_sends_a_file(
    loop: Loop, contexts: list[dict[str, Any]], file: Any, method: str
) -> None:
    connection = connect(loop, pair=tcp_pair)
    task = loop.create_task(loop.sendfile(connection.transport, file))
    turn(loop, 4)
    assert not task.done()
    getattr(connection.transport, method)()
    run_until(loop, lambda: connection.protocol.is_lost)
    got = connection.receive_all()
    assert got == CONTENT[: len(got)]
    connection.peer.close()
    task.cancel()
    run_until(loop, task.done)
    assert task.cancelled() or task.exception() is not None
    # The future that said that the buffer was empty is told of the end, though it is done.
    (told,) = contexts
    assert isinstance(told["exception"], asyncio.InvalidStateError)


def test_a_cancelled_file_leaves_a_transport_that_works(loop: Loop, file: Any) -> None:
    connection = connect(loop, pair=tcp_pair)
    task = loop.create_task(loop.sendfile(connection.transport, file))
    turn(loop, 4)
    assert not task.done()
    task.cancel()
    run_until(loop, task.done)
    assert task.cancelled()
    connection.transport.write(b"after")
    connection.transport.write_eof()
    got = connection.receive_all()
    assert got == CONTENT[: len(got) - 5] + b"after"
    connection.peer.sendall(b"still here")
    run_until(loop, lambda: connection.protocol.received == b"still here")
    connection.end()


def test_a_second_file_has_to_wait_for_the_first(loop: Loop, file: Any, tmp_path: Path) -> None:
    connection = connect(loop, pair=tcp_pair)

    async def main() -> None:
        first = asyncio.ensure_future(loop.sendfile(connection.transport, file))
        await asyncio.sleep(0)
        with pytest.raises((RuntimeError, KeyError)):
            await loop.sendfile(connection.transport, file)
        await first

    all_of(connection, main, CONTENT)
    connection.end()


@pytest.mark.parametrize("fallback", [True, False])
def test_files_over_tls_take_the_fallback(loop: Loop, file: Any, certificates: Certificates, fallback: bool) -> None:
    client, protocol, _, peer = run(loop, connected(loop, certificates))

    async def main() -> None:
        if not fallback:
            with pytest.raises(RuntimeError, match=r"^fallback is disabled and native sendfile is not supported"):
                await loop.sendfile(client, file, fallback=False)
            return
        assert await loop.sendfile(client, file, offset=10, count=2 * MIB) == 2 * MIB
        assert file.tell() == 10 + 2 * MIB
        client.write(b"end")

    run(loop, main())
    if fallback:
        run_until(loop, lambda: peer.received.endswith(b"end"))
        assert peer.received == CONTENT[10 : 10 + 2 * MIB] + b"end"
    client.close()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)
