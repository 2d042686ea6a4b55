"""``ferrio.testing.chaos``: other choices than usual where asyncio leaves them open, the same for the same seed."""

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import ferrio
from ferrio.testing import chaos

from .loops import ferrio_only

pytestmark = ferrio_only

T = TypeVar("T")
LIMIT_S = 60.0
SEEDS = range(5)


def run(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await main()

    with asyncio.Runner(loop_factory=lambda: chaos(seed)) as runner:
        return runner.run(limited())


def pair_for(stack: contextlib.ExitStack, kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """A pair that does not block, closed with the stack."""
    ours, theirs = socket.socketpair(type=kind)
    for end in (ours, theirs):
        stack.enter_context(end).setblocking(False)
    return ours, theirs


class Pieces(asyncio.Protocol):
    """What a transport has received, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.at_end = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.at_end.set_result(exc)


async def received(data: bytes) -> list[bytes]:
    """The pieces in which *data* is received from a socket that has it all already."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        theirs.sendall(data)
    _, protocol = await loop.create_connection(Pieces, sock=ours)
    await protocol.at_end
    return protocol.pieces


def test_the_same_seed_makes_the_same_choices() -> None:
    data = bytes(range(256)) * 8

    async def main() -> tuple[list[bytes], int]:
        loop: Any = asyncio.get_running_loop()
        return await received(data), loop.chaos_seed

    found = [run(seed, main) for seed in (1, 2, 1, 2, 1 << 80)]
    assert found[:2] == found[2:4]
    assert found[0][0] != found[1][0]
    assert all(b"".join(pieces) == data for pieces, _ in found)
    assert [seed for _, seed in found] == [1, 2, 1, 2, 1 << 80]


def test_the_seed_is_the_environments_or_a_random_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def seed() -> int:
        loop: Any = chaos()
        loop.close()
        found: int = loop.chaos_seed
        return found

    monkeypatch.setenv("FERRIO_CHAOS", "123")
    assert seed() == 123
    monkeypatch.setenv("FERRIO_CHAOS", "x")
    with pytest.raises(ValueError, match="x"):
        seed()
    monkeypatch.delenv("FERRIO_CHAOS")
    assert len({seed() for _ in range(5)}) > 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 1 << 10, 64 << 10, 1 << 20])
def test_bytes_arrive_in_their_order_in_other_pieces(seed: int, size: int) -> None:
    data = os.urandom(size)

    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while block := await reader.read(1 << 16):
                writer.writelines([block[:100], block[100:]])
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
            writer.close()

    run(seed, main)


@pytest.mark.parametrize("seed", SEEDS)
def test_raw_sockets_receive_other_pieces(seed: int) -> None:
    data = os.urandom(100_000)

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            ours, theirs = pair_for(stack, socket.SOCK_STREAM)

            async def send() -> None:
                await loop.sock_sendall(theirs, data)
                theirs.shutdown(socket.SHUT_WR)

            sending = asyncio.create_task(send())
            pieces, buffer = [], bytearray(1000)
            while sum(map(len, pieces)) < len(data):
                pieces.append(await loop.sock_recv(ours, 5000))
                count = await loop.sock_recv_into(ours, buffer)
                pieces.append(bytes(buffer[:count]))
            await sending
            assert b"".join(pieces) == data
            assert await loop.sock_recv(ours, 0) == b""
            with pytest.raises(ValueError, match="negative"):
                await loop.sock_recv(ours, -1)
            with pytest.raises(TypeError):
                await loop.sock_recv_into(ours, "text")  # type: ignore[arg-type]
        return len(pieces), len({len(piece) for piece in pieces})

    pieces, sizes = run(seed, main)
    assert pieces > 20
    assert sizes > 5


def test_datagrams_stay_whole() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            ours, theirs = pair_for(stack, socket.SOCK_DGRAM)
            for size in (1, 100, 10_000):
                await loop.sock_sendall(theirs, b"x" * size)
                assert len(await loop.sock_recv(ours, 20_000)) == size
                await loop.sock_sendall(theirs, b"x" * size)
                assert await loop.sock_recv_into(ours, bytearray(20_000)) == size

    for seed in SEEDS:
        run(seed, main)


def test_what_is_ready_at_once_is_served_in_another_order() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        with contextlib.ExitStack() as stack:
            pairs = [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(6)]
            for number, (ours, theirs) in enumerate(pairs):
                theirs.send(b"x")
                assert select.select([ours], [], [], LIMIT_S)[0]
                loop.add_reader(ours, seen.append, number)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for ours, _ in pairs:
                loop.remove_reader(ours)
        return seen[:6]

    orders = [run(seed, main) for seed in range(10)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len(set(map(tuple, orders))) > 5
    assert orders == [run(seed, main) for seed in range(10)]


def test_the_calls_of_a_thread_keep_their_order() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        done = loop.create_future()

        def call() -> None:
            for number in range(50):
                loop.call_soon_threadsafe(seen.append, number)
            loop.call_soon_threadsafe(done.set_result, None)

        thread = threading.Thread(target=call)
        thread.start()
        await done
        thread.join()
        assert await asyncio.to_thread(int, "7") == 7
        return seen

    assert run(1, main) == list(range(50))


def test_a_program_that_takes_a_piece_for_a_message_is_found_out() -> None:
    async def main() -> bool:
        return b"a whole line\n" in await received(b"a whole line\n")

    with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
        assert runner.run(main())
    assert not all(run(seed, main) for seed in SEEDS)


@pytest.mark.once
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suite", ["streams", "test_tls.py", "test_subprocesses.py test_threads.py test_pipes.py"])
def test_suites_of_our_own_pass(suite: str) -> None:
    folder = Path(__file__).parent
    # What compares times says nothing of a loop that makes other choices.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not linear_time"]
    command += [str(folder / name) for name in suite.split()]
    environment = os.environ | {"FERRIO_TEST_LOOP": "chaos", "FERRIO_CHAOS": "7"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST")}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parents[1], check=False)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
