"""netcat as the peer of streams and protocols: half-closed connections, peers that do not read or are killed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .loop_under_test import run
from .namespaces import NAMESPACES
from .programs import output_of, running
from .servers.daemon import free_port
from .service import payload

MEBIBYTE = 1024 * 1024
#: More than the kernel and a pipe hold between a server and a reader that does not read.
MUCH = 24 * MEBIBYTE

each_size = pytest.mark.parametrize("size", [0, 1, 65_536, 4 * MEBIBYTE])


@pytest.fixture(params=NAMESPACES)
def streams(request: pytest.FixtureRequest) -> ModuleType:
    """The namespace whose streams are used."""
    return NAMESPACES[request.param]


class Answering(asyncio.Protocol):
    """Answers with what it received, backwards, once its peer has sent its end."""

    #: What `eof_received` returns: whether the connection stays open.
    stays_open: bool | None = None

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool | None:
        self.transport.write(bytes(self.received[::-1]))
        if self.stays_open:
            asyncio.get_running_loop().call_later(0.01, self.transport.close)
        return self.stays_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class AnsweringLater(Answering):
    stays_open = True


class BufferedAnswering(Answering, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(50_000)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]


@asynccontextmanager
async def served(streams: ModuleType, handler: Callable[[Any, Any], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve with *handler*, wait for the handlers to end, and give the port."""
    ends = []

    async def handle(reader: Any, writer: Any) -> None:
        ends.append(asyncio.get_running_loop().create_future())
        end = ends[-1]
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            end.set_result(None)

    async with await streams.start_server(handle, "127.0.0.1", 0) as server:
        yield str(server.sockets[0].getsockname()[1])
        await asyncio.gather(*ends)


@each_size
def test_a_half_closed_connection_is_answered_by_streams(streams: ModuleType, nc: Path, size: int) -> None:
    async def answer(reader: Any, writer: Any) -> None:
        received = await reader.read()
        assert reader.at_eof()
        assert not writer.is_closing()
        writer.write(received[::-1])
        await writer.drain()

    async def main() -> None:
        async with served(streams, answer) as port:
            assert await output_of([nc, "-N", "127.0.0.1", port], payload(1, size)) == payload(1, size)[::-1]

    run(main)


@each_size
@pytest.mark.parametrize("protocol", [Answering, AnsweringLater, BufferedAnswering])
def test_a_half_closed_connection_is_answered_by_a_protocol(protocol: type[Answering], nc: Path, size: int) -> None:
    async def main() -> None:
        made: list[Answering] = []

        def factory() -> Answering:
            made.append(protocol())
            return made[-1]

        async with await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0) as server:
            port = str(server.sockets[0].getsockname()[1])
            assert await output_of([nc, "-N", "127.0.0.1", port], payload(2, size)) == payload(2, size)[::-1]
            (connection,) = made
            assert await connection.lost is None

    run(main)


def test_a_peer_that_sends_then_waits_has_its_lines_answered_one_by_one(streams: ModuleType, nc: Path) -> None:
    async def shout(reader: Any, writer: Any) -> None:
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()

    async def main() -> None:
        async with served(streams, shout) as port, running([nc, "-N", "127.0.0.1", port]) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for number in range(50):
                # A line in two pieces, and two lines in one.
                for piece in (f"line {number}, ", f"end\nand {number}\n"):
                    process.stdin.write(piece.encode())
                    await process.stdin.drain()
                assert await process.stdout.readline() == f"LINE {number}, END\n".encode()
                assert await process.stdout.readline() == f"AND {number}\n".encode()
            process.stdin.close()
            assert await process.stdout.read() == b""
            assert await process.wait() == 0

    run(main)


def test_the_server_ends_first_and_still_receives(streams: ModuleType, nc: Path) -> None:
    received = b""

    async def end_at_once(reader: Any, writer: Any) -> None:
        nonlocal received
        writer.write(b"that is all\n")
        writer.write_eof()
        received = await reader.read()

    async def main() -> None:
        async with served(streams, end_at_once) as port, running([nc, "-N", "127.0.0.1", port]) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert await process.stdout.readline() == b"that is all\n"
            process.stdin.write(b"late, but whole")
            process.stdin.close()
            assert await process.wait() == 0
        assert received == b"late, but whole"

    run(main)


def test_a_peer_that_does_not_read_holds_the_writer_back_until_it_does(streams: ModuleType, nc: Path) -> None:
    sent, whole = 0, payload(3, MUCH)

    async def send(reader: Any, writer: Any) -> None:
        nonlocal sent
        for start in range(0, MUCH, 100_000):
            writer.write(whole[start : start + 100_000])
            await writer.drain()
            sent += len(whole[start : start + 100_000])

    async def main() -> None:
        async with served(streams, send) as port, running([nc, "-N", "127.0.0.1", port]) as process:
            assert process.stdout is not None
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.05)
            # The pipe of standard output has its own reader, which is held back by its own limit.
            assert 0 < sent < MUCH
            assert process.stdin is not None
            process.stdin.close()
            assert await process.stdout.read() == whole
            assert await process.wait() == 0
        assert sent == MUCH

    run(main)


def test_a_peer_that_is_killed_while_it_does_not_read_ends_its_writer_alone(streams: ModuleType, nc: Path) -> None:
    failures: list[BaseException] = []

    async def send(reader: Any, writer: Any) -> None:
        if await reader.readline() == b"well-behaved\n":
            writer.write(b"welcome\n")
            return
        try:
            while True:
                writer.write(b"x" * 1_000_000)
                await writer.drain()
        except OSError as error:
            failures.append(error)
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def main() -> None:
        async with served(streams, send) as port:
            async with running([nc, "127.0.0.1", port]) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(b"rude\n")
                assert await process.stdout.readexactly(1000) == b"x" * 1000
                process.kill()
                await process.communicate()
            async with asyncio.timeout(10):
                while not failures:
                    await asyncio.sleep(0.001)
            assert type(failures[0]) in (ConnectionResetError, BrokenPipeError)
            assert await output_of([nc, "-N", "127.0.0.1", port], b"well-behaved\n") == b"welcome\n"

    run(main)


@each_size
def test_netcat_serves_and_a_stream_is_its_client(streams: ModuleType, nc: Path, size: int) -> None:
    there, back = payload(4, size), payload(5, size)

    async def main() -> None:
        port = free_port()
        async with running([nc, "-l", "-N", "127.0.0.1", str(port)]) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(10):
                while True:
                    try:
                        reader, writer = await streams.open_connection("127.0.0.1", port)
                        break
                    except ConnectionRefusedError:
                        await asyncio.sleep(0.005)

            async def talk() -> bytes:
                writer.write(there)
                received = bytes(await reader.read())
                # A listening netcat ends when its client does, whatever it still has to send.
                writer.write_eof()
                return received

            talking = asyncio.create_task(talk())
            output, _ = await process.communicate(back)
            assert (output, await talking, process.returncode) == (there, back, 0)
            writer.close()
            await writer.wait_closed()

    run(main)


@each_size
def test_a_unix_socket_too(streams: ModuleType, nc: Path, tmp_path: Path, size: int) -> None:
    async def answer(reader: Any, writer: Any) -> None:
        writer.write((await reader.read())[::-1])
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await streams.start_unix_server(answer, tmp_path / "socket"):
            sent = payload(6, size)
            assert await output_of([nc, "-N", "-U", tmp_path / "socket"], sent) == sent[::-1]

    run(main)
