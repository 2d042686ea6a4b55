"""Thousands of waits on raw sockets, cancelled, closed, reopened at any moment: nothing lost, mixed up, left behind."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from .loops_compared import LIMIT_S, NAME, new_loop_under_test, open_descriptors, turn

pytestmark = pytest.mark.skipif(NAME != "ferrio", reason="asyncio loses bytes when it is cancelled in these moments")

Loop = asyncio.AbstractEventLoop
Pair = tuple[socket.socket, socket.socket]
CANCELLATIONS = 3000


def pair() -> Pair:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def connection() -> Pair:
    """A pair over TCP, where a short receive shows that nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


each_kind = pytest.mark.parametrize("make_pair", [pair, connection])


def run(loop: Loop, main: Any) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(4 * LIMIT_S):
            return await main

    return loop.run_until_complete(limited())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@each_kind
@pytest.mark.parametrize("seed", range(4))
def test_a_stream_received_by_cancelled_receives_is_complete(seed: int, make_pair: Callable[[], Pair]) -> None:
    choose = random.Random(seed)
    content = choose.randbytes(400_000)
    loop = new_loop_under_test()
    ours, theirs = make_pair()
    received = bytearray()

    async def send() -> None:
        position = 0
        while position < len(content):
            size = choose.randrange(1, 700)
            await loop.sock_sendall(theirs, content[position : position + size])
            position += size
            await turns(choose.randrange(3))
        theirs.close()

    async def receive() -> None:
        buffer = bytearray(1000)
        while True:
            size = choose.randrange(1, 1000)
            is_into = choose.random() < 0.3
            call: Any = loop.sock_recv_into(ours, buffer) if is_into else loop.sock_recv(ours, size)
            task = asyncio.ensure_future(call)
            await turns(choose.randrange(5))
            task.cancel()
            try:
                got = await task
            except asyncio.CancelledError:
                continue
            if not got:
                return
            received.extend(buffer[:got] if is_into else got)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            group.create_task(receive())

    run(loop, main())
    ours.close()
    loop.close()
    assert received == content


def test_thousands_of_cancelled_waits_leave_nothing_behind() -> None:
    loop = new_loop_under_test()
    core: Any = loop
    # What the loop has for itself is there from the first turn on.
    run(loop, turns(1))
    own = core._watched_descriptors()
    gc.collect()
    before = open_descriptors()
    ours, theirs = pair()
    references = sys.getrefcount(ours)

    async def main() -> None:
        full = bytes(1 << 20)
        for number in range(CANCELLATIONS):
            calls: list[Any] = [loop.sock_recv(ours, 10), loop.sock_recv_into(ours, bytearray(10))]
            calls += [loop.sock_recvfrom(ours, 10), loop.sock_recvfrom_into(ours, bytearray(10))]
            calls += [loop.sock_accept(ours)] if number % 10 == 0 else []
            tasks = [asyncio.ensure_future(calls[number % len(calls)])]
            for call in calls:
                if call is not calls[number % len(calls)]:
                    call.close()
            tasks.append(asyncio.ensure_future(loop.sock_sendall(ours, full)))
            await turns(number % 4)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    objects = 0
    for _ in range(3):
        run(loop, main())
        turn(loop, 2)
        gc.collect()
        previous, objects = objects, len(gc.get_objects())
    # A round leaves as many objects as the one before.
    assert abs(objects - previous) < 50
    assert not loop.remove_reader(ours)
    assert not loop.remove_writer(ours)
    assert core._watched_descriptors() == own
    assert sys.getrefcount(ours) == references
    assert open_descriptors() == before + 2
    ours.close()
    theirs.close()
    loop.close()


def test_thousands_of_sockets_are_forgotten() -> None:
    loop = new_loop_under_test()
    core: Any = loop
    # What the loop has for itself is there from the first turn on.
    run(loop, turns(1))
    own = core._watched_descriptors()
    gc.collect()
    before = open_descriptors()

    async def once(number: int) -> None:
        ours, theirs = pair()
        task = asyncio.ensure_future(loop.sock_recv(ours, 10))
        await turns(2)
        if number % 3 == 0:
            task.cancel()
        else:
            theirs.send(b"abc")
        await asyncio.gather(task, return_exceptions=True)
        if number % 2:
            ours.close()
        theirs.close()

    async def main() -> None:
        for number in range(CANCELLATIONS):
            await once(number)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(loop, main())
        gc.collect()
    assert open_descriptors() == before
    assert core._watched_descriptors() == own
    loop.close()


def test_hundreds_of_questions_are_answered_over_a_few_connections() -> None:
    """Each end receives again at once after what it has sent, in nearly every case before the answer is there."""
    loop = new_loop_under_test()
    choose = random.Random(1)

    async def answer(sock: socket.socket) -> None:
        buffer = bytearray(4096)
        while size := await loop.sock_recv_into(sock, buffer):
            if choose.random() < 0.2:
                await turns(choose.randrange(3))
            await loop.sock_sendall(sock, buffer[:size])
        sock.close()

    async def ask(sock: socket.socket) -> None:
        for _ in range(400):
            question = choose.randbytes(choose.randrange(1, 9000))
            await loop.sock_sendall(sock, question)
            received = b""
            while len(received) < len(question):
                # At times there is exactly as much room as something takes.
                room = choose.choice([1, 7, len(question) - len(received), 100_000])
                received += await loop.sock_recv(sock, room)
            assert received == question
        sock.close()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                ours, theirs = connection()
                group.create_task(ask(ours))
                group.create_task(answer(theirs))

    run(loop, main())
    loop.close()


@each_kind
@pytest.mark.parametrize("seed", range(6))
def test_numbers_that_change_hands_never_mix_bytes(seed: int, make_pair: Callable[[], Pair]) -> None:
    """Sockets are closed by every means while something waits for them; the next sockets get their numbers at once.

    Each pair has a byte of its own. Whatever is received on a pair is that byte. Left out is what a socket object
    begins after its number was closed behind its back: nobody can tell then.
    """
    choose = random.Random(seed)
    before = open_descriptors()
    loop = new_loop_under_test()

    async def converse(mark: bytes) -> None:
        ours, theirs = make_pair()
        readers = [asyncio.ensure_future(watch(ours, mark)) for _ in range(choose.randrange(1, 3))]
        writer = asyncio.ensure_future(send(theirs, mark * choose.randrange(1, 300_000)))
        await turns(2 + choose.randrange(6))
        end = choose.choice(["close", "os.close", "detach", "shutdown", "dup2", "forget"])
        if end == "close":
            ours.close()
        elif end == "os.close":
            # The socket object goes on believing that the number is its own.
            os.close(ours.fileno())
        elif end == "detach":
            os.close(ours.detach())
        elif end == "dup2":
            other, far = make_pair()
            os.dup2(other.fileno(), ours.fileno())
            other.close()
            far.send(mark)
            await turns(2)
            far.close()
        elif end == "shutdown":
            ours.shutdown(socket.SHUT_RDWR)
        # Whoever comes next gets the number.
        following = [make_pair() for _ in range(2)]
        marks = bytes([255 - mark[0]])
        waits = [asyncio.ensure_future(watch(each[0], marks)) for each in following]
        for each in following:
            each[1].send(marks)
        await turns(choose.randrange(4))
        for task in (*readers, writer, *waits):
            task.cancel()
        outcomes = await asyncio.gather(*readers, writer, *waits, return_exceptions=True)
        assert not [outcome for outcome in outcomes if isinstance(outcome, AssertionError)]
        for each in following:
            for sock in each:
                sock.close()
        theirs.close()
        if end == "os.close":
            # The number may be somebody else's: it must not be closed again.
            ours.detach()
        else:
            ours.close()

    async def watch(sock: socket.socket, mark: bytes) -> None:
        try:
            while data := await loop.sock_recv(sock, 5000):
                assert data.strip(mark) == b"", "bytes of another connection"
        except OSError:
            pass

    async def send(sock: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await loop.sock_sendall(sock, data)

    async def main() -> None:
        for number in range(400):
            await converse(bytes([1 + number % 120]))

    run(loop, main())
    loop.close()
    gc.collect()
    assert open_descriptors() <= before
