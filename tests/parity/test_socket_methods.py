"""``sock_recv`` and its relatives: the same results in the same turns, alone and beside others on the same number."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import turns


def stream() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


def fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def drain(sock: socket.socket) -> None:
    try:
        while sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass


async def noted(diary: Diary, name: str, awaitable: Any) -> None:
    """Write down when *awaitable* ends, and its outcome."""
    with diary.raises(name):
        diary(name, "began")
        diary(name, "got", await awaitable)


def test_a_wait_ends_in_the_same_turn(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        diary.count_turns()
        calls: dict[str, Callable[[], Any]] = {
            "recv": lambda: loop.sock_recv(ours, 100),
            "recv_into": lambda: loop.sock_recv_into(ours, bytearray(100)),
            "recvfrom": lambda: loop.sock_recvfrom(ours, 100),
            "recvfrom_into": lambda: loop.sock_recvfrom_into(ours, bytearray(100)),
        }
        for name, call in calls.items():
            theirs.send(b"at once")
            await noted(diary, name, call())
            task = asyncio.ensure_future(noted(diary, name, call()))
            await turns(3)
            loop.call_soon(diary, "before")
            theirs.send(b"later")
            loop.call_soon(diary, "after")
            await task
        fill(theirs)
        task = asyncio.ensure_future(noted(diary, "sendall", loop.sock_sendall(theirs, b"x" * 10)))
        await turns(2)
        drain(ours)
        await task
        theirs.close()
        drain(ours)
        await noted(diary, "end", loop.sock_recv(ours, 10))
        ours.close()
        await noted(diary, "closed", loop.sock_recv(ours, 10))

    scenario_in_both_modes(play)


def test_connections_are_made_and_accepted_in_the_same_turns(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
            listener.setblocking(False)
            ours.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await turns(1)
            await noted(diary, "connect", loop.sock_connect(ours, listener.getsockname()))
            theirs, address = await accepting
            diary("accepted", address == ours.getsockname(), theirs.gettimeout())
            theirs.close()
            await noted(diary, "again", loop.sock_connect(ours, listener.getsockname()))
        with socket.socket() as bound, socket.socket() as ours:
            bound.bind(("127.0.0.1", 0))
            ours.setblocking(False)
            await noted(diary, "refused", loop.sock_connect(ours, bound.getsockname()))
        with socket.socket() as ours:
            ours.setblocking(False)
            await noted(diary, "no such port", loop.sock_connect(ours, ("127.0.0.1", 1 << 20)))
            await noted(diary, "no address", loop.sock_connect(ours, None))
            await noted(diary, "not listening", loop.sock_accept(ours))

    scenario_in_both_modes(play)


def test_a_cancelled_wait_ends_in_the_same_turn(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        fill(theirs)
        drain(ours)
        fill(ours)
        diary.count_turns()
        for name, call in {
            "recv": lambda: loop.sock_recv(ours, 100),
            "recv_into": lambda: loop.sock_recv_into(ours, bytearray(100)),
            "sendall": lambda: loop.sock_sendall(ours, b"x"),
        }.items():
            for waited in range(3):
                task = asyncio.ensure_future(noted(diary, name, call()))
                await turns(waited)
                task.cancel("enough")
                loop.call_soon(diary, "after")
                with diary.raises(name, "task"):
                    await task
            diary(name, "left", loop.remove_reader(ours), loop.remove_writer(ours))
        ours.close()
        theirs.close()

    scenario_in_both_modes(play)


def test_a_limit_in_time(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        for _ in range(3):
            with diary.raises("wait_for"):
                await asyncio.wait_for(loop.sock_recv(ours, 10), 0.001)
            with diary.raises("timeout"):
                async with asyncio.timeout(0.001):
                    await loop.sock_recv(ours, 10)
        theirs.send(b"abc")
        diary("got", await asyncio.wait_for(loop.sock_recv(ours, 10), 1))
        ours.close()
        theirs.close()

    scenario(play)


def test_the_misuse_of_an_awaitable(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        theirs.send(b"abc")
        operation: Any = loop.sock_recv(ours, 10)
        with diary.raises("a first value"):
            operation.send(1)
        diary("result", await operation)
        with diary.raises("awaited again"):
            await operation
        with diary.raises("thrown into what has ended"):
            operation.throw(KeyError(1))
        operation.close()
        operation = loop.sock_recv(ours, 10)
        with diary.raises("thrown into what has not begun"):
            operation.throw(KeyError(1))
        operation = loop.sock_recv(ours, 10)
        with diary.raises("not an exception"):
            operation.throw(1)
        operation.close()
        operation = loop.sock_recv(ours, 10)
        operation.close()
        with diary.raises("closed"):
            await operation
        loop.sock_recv(ours, 10)  # type: ignore[unused-coroutine]
        diary("kind", asyncio.iscoroutine(operation), asyncio.isfuture(operation))
        ours.close()
        theirs.close()

    scenario(play)


def test_wrong_arguments(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        ours, theirs = stream()
        for name, arguments in [
            ("sock_recv", ()),
            ("sock_recv", (ours,)),
            ("sock_recv", (ours, 1, 2)),
            ("sock_recv", (None, 1)),
            ("sock_recv", ("text", 1)),
            ("sock_recv", (ours, -1)),
            ("sock_recv", (ours, "1")),
            ("sock_recv", (ours, 1 << 70)),
            ("sock_recv_into", (ours, b"read-only")),
            ("sock_recv_into", (ours, 1)),
            ("sock_recvfrom", (ours, -1)),
            ("sock_recvfrom_into", (ours, bytearray(2), 3)),
            ("sock_recvfrom_into", (ours, bytearray(2), -1)),
            ("sock_recvfrom_into", (ours, 5)),
            ("sock_sendall", (ours, "text")),
            ("sock_sendall", (ours, None)),
            ("sock_sendall", (ours, 5)),
            ("sock_sendto", (ours, b"x", ("127.0.0.1", 9))),
            ("sock_sendto", (ours, "text", "/nowhere")),
            ("sock_accept", (ours,)),
            ("sock_accept", ()),
            ("sock_connect", (ours, 5)),
        ]:
            with diary.raises(name, len(arguments)):
                diary(name, await getattr(loop, name)(*arguments))
        ours.close()
        theirs.close()

    scenario(play)


def test_readers_and_waits_take_each_others_place(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        diary.count_turns()
        # A reader replaces a wait, which then never ends.
        task = asyncio.ensure_future(noted(diary, "wait", loop.sock_recv(ours, 1)))
        await turns(2)
        loop.add_reader(ours, lambda: diary("reader", ours.recv(1)))
        theirs.send(b"ab")
        await turns(4)
        task.cancel()
        await turns(3)
        theirs.send(b"c")
        await turns(3)
        # A wait replaces a reader.
        task = asyncio.ensure_future(noted(diary, "wait", loop.sock_recv(ours, 1)))
        await turns(2)
        theirs.send(b"d")
        await turns(4)
        diary("removed", loop.remove_reader(ours), loop.remove_writer(ours))
        # A second wait replaces the first.
        first = asyncio.ensure_future(noted(diary, "first", loop.sock_recv(ours, 1)))
        second = asyncio.ensure_future(noted(diary, "second", loop.sock_recv(ours, 1)))
        await turns(2)
        theirs.send(b"e")
        await turns(4)
        diary("done", first.done(), second.done())
        first.cancel()
        await turns(3)
        # Both directions.
        fill(ours)
        task = asyncio.ensure_future(noted(diary, "wait", loop.sock_recv(ours, 1)))
        sending = asyncio.ensure_future(noted(diary, "sendall", loop.sock_sendall(ours, b"x")))
        await turns(2)
        diary("watched", loop.remove_writer(ours))
        drain(theirs)
        await turns(3)
        diary("done", task.done(), sending.done())
        sending.cancel()
        loop.add_writer(ours, diary, "writer")
        await turns(2)
        theirs.send(b"f")
        await turns(4)
        diary("removed", loop.remove_reader(ours), loop.remove_writer(ours))
        await turns(2)
        ours.close()
        theirs.close()

    scenario_in_both_modes(play)


def test_a_transports_socket(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = stream()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        await noted(diary, "sendall", loop.sock_sendall(ours, b"abc"))
        await noted(diary, "recv", loop.sock_recv(ours, 10))
        await noted(diary, "recv through the transport", loop.sock_recv(transport.get_extra_info("socket"), 10))
        diary("still works", theirs.recv(10))
        transport.abort()
        await turns(3)
        theirs.close()

    scenario(play)


@pytest.mark.parametrize("seed", range(12))
def test_random_use_of_a_few_sockets(scenario: Play, seed: int) -> None:
    """A reader for each socket, cancelled now and then while nothing can be there; turns are compared."""

    async def play(diary: Diary) -> None:
        loop = diary.loop
        choose = random.Random(seed)
        pairs = [stream() for _ in range(4)]
        waiting: dict[int, asyncio.Task[None]] = {}
        empty = [True] * len(pairs)
        diary.count_turns()
        for step in range(120):
            index = choose.randrange(len(pairs))
            ours, theirs = pairs[index]
            task = waiting.get(index)
            action = choose.choice(["recv", "recv_into", "send", "sendall", "cancel", "turns"])
            if action in ("recv", "recv_into") and (task is None or task.done()):
                call: Any = (
                    loop.sock_recv(ours, 4) if action == "recv" else loop.sock_recv_into(ours, memoryview(bytearray(4)))
                )
                waiting[index] = asyncio.ensure_future(noted(diary, f"{index}.{step}", call))
            elif action == "send":
                theirs.send(b"%04d" % step)
                empty[index] = False
            elif action == "sendall":
                await noted(diary, f"sendall {step}", loop.sock_sendall(theirs, b"%04d" % step))
                empty[index] = False
            elif action == "cancel" and task is not None and empty[index]:
                task.cancel()
            await turns(choose.randrange(4))
        for task in waiting.values():
            task.cancel()
        await turns(3)
        for pair in pairs:
            for end in pair:
                end.close()

    scenario(play)
