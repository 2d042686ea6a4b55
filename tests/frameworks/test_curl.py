"""curl as the client of streams and protocols: many requests on one connection, bodies of every kind, slow and rude."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from .loop_under_test import run
from .namespaces import NAMESPACES
from .programs import output_of, running
from .service import payload
from .small_http import PIECE, Seen, small_http

MEBIBYTE = 1024 * 1024

Command = list[str | Path]


@pytest.fixture(params=["protocol", "buffered", *NAMESPACES])
def way(request: pytest.FixtureRequest) -> str:
    """How the server is written."""
    return str(request.param)


@pytest.fixture
def command(curl: Path) -> Command:
    return [curl, "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "15"]


def serving(way: str, talk: Callable[[str, Seen], Awaitable[None]]) -> None:
    """Run *talk* with a server's address and what it has seen."""

    async def main() -> None:
        async with small_http(way, NAMESPACES) as (base, seen):
            await talk(base, seen)
            async with asyncio.timeout(10):
                while seen.ended < seen.connections:
                    await asyncio.sleep(0.001)

    run(main)


def digest_line(content: bytes) -> bytes:
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n".encode()


def test_many_requests_use_one_connection(way: str, command: Command) -> None:
    async def talk(base: str, seen: Seen) -> None:
        pages = [f"{base}/connection", f"{base}/bytes/1/100", f"{base}/bytes/2/0", f"{base}/connection"]
        assert await output_of([*command, *pages]) == b"0\n" + payload(1, 100) + b"0\n"
        assert await output_of([*command, f"{base}/connection"]) == b"1\n"
        assert (seen.connections, seen.errors) == (2, {})

    serving(way, talk)


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 10 * MEBIBYTE])
def test_bodies_come_down_whole(way: str, command: Command, size: int) -> None:
    async def talk(base: str, seen: Seen) -> None:
        assert await output_of([*command, f"{base}/bytes/3/{size}"]) == payload(3, size)
        assert seen.errors == {}

    serving(way, talk)


@pytest.mark.parametrize("kind", ["with a length", "with a length, asked first", "in chunks"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 10 * MEBIBYTE])
def test_bodies_go_up_whole(way: str, command: Command, tmp_path: Path, size: int, kind: str) -> None:
    sent = payload(4, size)
    file = tmp_path / "body"
    file.write_bytes(sent)
    options = {
        "with a length": ["--header", "Expect:", "--data-binary", f"@{file}"],
        "with a length, asked first": ["--header", "Expect: 100-continue", "--data-binary", f"@{file}"],
        "in chunks": ["--header", "Transfer-Encoding: chunked", "--upload-file", "-"],
    }[kind]

    async def talk(base: str, seen: Seen) -> None:
        given = sent if kind == "in chunks" else None
        # The second request shows that the first was taken to its last byte.
        pages = [f"{base}/digest"] if kind == "in chunks" else [f"{base}/digest", f"{base}/digest"]
        assert await output_of([*command, *options, *pages], given) == digest_line(sent) * len(pages)
        assert (seen.connections, seen.errors) == (1, {})

    serving(way, talk)


def test_a_slow_reader_holds_the_server_back(way: str, command: Command) -> None:
    async def talk(base: str, seen: Seen) -> None:
        size = 10 * MEBIBYTE
        slow = await output_of([*command, "--limit-rate", "12M", f"{base}/bytes/5/{size}"])
        assert slow == payload(5, size)
        assert seen.held_back > 0
        # The limit, and what was written when it was not yet reached.
        assert seen.most_waiting <= 3 * PIECE

    serving(way, talk)


def test_a_slow_writer_is_waited_for(way: str, command: Command, tmp_path: Path) -> None:
    sent = payload(6, 2 * MEBIBYTE)
    (tmp_path / "body").write_bytes(sent)

    async def talk(base: str, seen: Seen) -> None:
        slow = [*command, "--limit-rate", "4M", "--data-binary", f"@{tmp_path / 'body'}", f"{base}/digest"]
        assert await output_of(slow) == digest_line(sent)

    serving(way, talk)


def test_a_client_that_aborts_a_download_ends_only_its_own_connection(way: str, command: Command) -> None:
    async def talk(base: str, seen: Seen) -> None:
        # More than the buffers on the way hold.
        size = 16 * MEBIBYTE
        async with running([*command, f"{base}/bytes/7/{size}"], reads=False) as process:
            assert process.stdout is not None
            assert await process.stdout.readexactly(100_000) == payload(7, size)[:100_000]
            process.kill()
            await process.communicate()
        async with asyncio.timeout(10):
            while not seen.ended:
                await asyncio.sleep(0.001)
        assert set(seen.errors) <= {"ConnectionResetError", "BrokenPipeError"}
        assert seen.errors.total() == 1
        assert await output_of([*command, f"{base}/connection"]) == b"1\n"

    serving(way, talk)


def test_a_client_that_aborts_an_upload_ends_only_its_own_connection(way: str, command: Command) -> None:
    async def talk(base: str, seen: Seen) -> None:
        upload = ["--header", "Transfer-Encoding: chunked", "--header", "Expect:", "--upload-file", "-"]
        async with running([*command, *upload, f"{base}/digest"]) as process:
            assert process.stdin is not None
            process.stdin.write(payload(8, 300_000))
            await process.stdin.drain()
            async with asyncio.timeout(10):
                while not seen.connections:
                    await asyncio.sleep(0.001)
            process.kill()
            await process.communicate()
        async with asyncio.timeout(10):
            while not seen.ended:
                await asyncio.sleep(0.001)
        assert await output_of([*command, f"{base}/connection"]) == b"1\n"

    serving(way, talk)


def test_many_connections_at_once_each_get_their_own_bytes(way: str, command: Command, tmp_path: Path) -> None:
    sizes = [number * 7_919 for number in range(60)]

    async def talk(base: str, seen: Seen) -> None:
        parts: Command = []
        for number, size in enumerate(sizes):
            parts += ["--output", tmp_path / str(number), f"{base}/bytes/{number}/{size}"]
        await output_of([*command, "--parallel", "--parallel-immediate", "--parallel-max", "30", *parts])
        for number, size in enumerate(sizes):
            path = tmp_path / str(number)
            assert (path.read_bytes() if path.exists() else b"") == payload(number, size)
        assert 1 < seen.connections <= 60

    serving(way, talk)
