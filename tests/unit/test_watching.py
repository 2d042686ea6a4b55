"""``add_reader`` and ``add_writer``: replacing, removing, and numbers that are closed, reused or duplicated."""

import asyncio
import contextvars
import gc
import os
import socket
import tempfile
import time
import weakref
from typing import Any

import pytest

from .connections import connect
from .loops import LIMIT_S, ferrio_only, run, run_until, turn
from .socket_pairs import Pair, drain, fill

Loop = asyncio.AbstractEventLoop


def test_a_reader_is_called_while_there_is_something_to_read(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    got: list[bytes] = []
    loop.add_reader(ours, lambda *args: got.append(ours.recv(1) + bytes(args)), 1, 2)
    turn(loop)
    assert got == []
    theirs.send(b"abc")
    turn(loop, 5)
    assert got == [b"a\1\2", b"b\1\2", b"c\1\2"]
    assert loop.remove_reader(ours)


def test_a_writer_is_called_while_there_is_room(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[int] = []
    loop.add_writer(ours, calls.append, 1)
    turn(loop, 3)
    assert calls == [1, 1, 1]
    fill(ours)
    calls.clear()
    turn(loop, 2)
    assert calls == []
    drain(theirs)
    turn(loop)
    assert calls == [1]
    assert loop.remove_writer(ours)


def test_descriptors_are_named_by_number_or_by_object(loop: Loop, stream: Pair) -> None:
    ours, _ = stream
    for name, other_name in [(ours, ours.fileno()), (ours.fileno(), ours)]:
        loop.add_reader(name, print)
        loop.add_writer(other_name, print)
        assert loop.remove_reader(other_name)
        assert loop.remove_writer(name)


def test_registering_again_replaces_and_cancels_the_callback_before(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[str] = []
    loop.add_reader(ours, calls.append, "first")
    loop.add_reader(ours, calls.append, "second")
    loop.add_writer(ours, calls.append, "first writer")
    loop.add_writer(ours, calls.append, "second writer")
    theirs.send(b"x")
    turn(loop)
    assert calls == ["second", "second writer"]
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)
    assert loop.remove_writer(ours)
    assert not loop.remove_writer(ours)


def test_a_callback_replaced_in_the_turn_in_which_it_is_ready_does_not_run(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[str] = []
    theirs.send(b"x")
    loop.add_reader(ours, calls.append, "first")
    loop.call_soon(loop.add_reader, ours, calls.append, "second")
    turn(loop)
    assert calls == []
    turn(loop)
    assert calls == ["second"]
    loop.remove_reader(ours)


def test_a_callback_removed_in_the_turn_in_which_it_is_ready_does_not_run(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[int] = []
    theirs.send(b"x")
    loop.add_reader(ours, calls.append, 1)
    loop.add_writer(ours, calls.append, 2)
    loop.call_soon(loop.remove_reader, ours)
    turn(loop)
    loop.remove_writer(ours)
    assert calls == [2]


def test_removing_what_is_not_there_says_so(loop: Loop, stream: Pair) -> None:
    ours, _ = stream
    assert loop.remove_reader(ours) is False
    assert loop.remove_writer(ours) is False
    loop.add_reader(ours, print)
    assert loop.remove_writer(ours) is False
    assert loop.remove_reader(ours) is True


def test_both_directions_are_independent(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[str] = []
    loop.add_reader(ours, calls.append, "reader")
    loop.add_writer(ours, calls.append, "writer")
    theirs.send(b"x")
    loop.remove_writer(ours)
    turn(loop)
    assert calls == ["reader"]
    loop.add_writer(ours, calls.append, "writer")
    loop.remove_reader(ours)
    turn(loop)
    assert calls == ["reader", "writer"]
    loop.remove_writer(ours)


def test_a_callback_can_remove_itself(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[bool] = []
    theirs.send(b"x")
    loop.add_reader(ours, lambda: calls.append(loop.remove_reader(ours)))
    turn(loop, 3)
    assert calls == [True]


def test_the_end_of_the_stream_makes_a_descriptor_readable(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(1)))
    theirs.close()
    turn(loop)
    loop.remove_reader(ours)
    assert got == [b""]


def test_a_lost_connection_makes_a_descriptor_writable(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[int] = []
    fill(ours)
    loop.add_writer(ours, calls.append, 1)
    turn(loop)
    assert calls == []
    theirs.close()
    turn(loop)
    loop.remove_writer(ours)
    assert calls == [1]


def test_pipes_can_be_watched(loop: Loop) -> None:
    reading, writing = os.pipe()
    got: list[bytes] = []
    loop.add_reader(reading, lambda: got.append(os.read(reading, 10)))
    loop.add_writer(writing, lambda: (os.write(writing, b"x"), loop.remove_writer(writing)))
    run_until(loop, lambda: got)
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)
    assert got == [b"x"]


def test_callbacks_run_in_a_copy_of_the_context_in_which_they_were_added(loop: Loop, stream: Pair) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    ours, theirs = stream
    seen: list[str] = []

    def look_and_set() -> None:
        seen.append(variable.get())
        variable.set("theirs")

    token = variable.set("mine")
    loop.add_reader(ours, look_and_set)
    variable.reset(token)
    theirs.send(b"x")
    turn(loop, 2)
    loop.remove_reader(ours)
    # One copy for all calls.
    assert seen == ["mine", "theirs"]


def test_an_exception_in_a_callback_leaves_it_registered(
    loop: Loop, stream: Pair, contexts: list[dict[str, Any]]
) -> None:
    ours, theirs = stream
    theirs.send(b"x")
    loop.add_reader(ours, lambda: 1 // 0)
    turn(loop, 2)
    assert len(contexts) == 2
    assert loop.remove_reader(ours)


# --- files that cannot be watched ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_regular_file_cannot_be_watched(loop: Loop, method: str) -> None:
    with tempfile.TemporaryFile() as file:
        with pytest.raises(PermissionError) as raised:
            getattr(loop, method)(file, print)
        assert raised.value.args == (1, "Operation not permitted")
        assert not loop.remove_reader(file)
        assert not loop.remove_writer(file)
    turn(loop)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_closed_socket_cannot_be_watched(loop: Loop, method: str) -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(ValueError, match="Invalid file"):
        getattr(loop, method)(closed, print)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_a_number_that_is_not_open_cannot_be_watched(loop: Loop, method: str) -> None:
    number = os.dup(0)
    os.close(number)
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        getattr(loop, method)(number, print)
    assert raised.value.errno == 9
    turn(loop)


@pytest.mark.parametrize("method", ["remove_reader", "remove_writer"])
def test_removing_a_closed_socket_gives_what_asyncio_gives(loop: Loop, method: str) -> None:
    closed = socket.socket()
    closed.close()
    theirs = asyncio.SelectorEventLoop()
    given = []
    for each in (theirs, loop):
        try:
            given.append(repr(getattr(each, method)(closed)))
        except ValueError as error:
            given.append(type(error).__name__)
    theirs.close()
    assert given[1] == given[0]


@pytest.mark.parametrize("file", [-1, "text", None, 1.5, object(), 10**30, -(10**30)])
@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_what_is_no_file_is_refused(loop: Loop, method: str, file: Any) -> None:
    with pytest.raises((ValueError, OverflowError, TypeError)):
        getattr(loop, method)(file, print)
    turn(loop)


@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_the_descriptor_of_a_transport_is_refused(loop: Loop, method: str) -> None:
    connection = connect(loop)
    callback = (print,) if method.startswith("add") else ()
    with pytest.raises(RuntimeError, match=r"File descriptor .* is used by transport"):
        getattr(loop, method)(connection.transport.get_extra_info("socket"), *callback)
    connection.end()


# --- numbers that are closed, used again, duplicated --------------------------------------------------------


def test_a_number_that_is_closed_while_it_is_watched_makes_the_loop_neither_fail_nor_spin(
    loop: Loop, stream: Pair
) -> None:
    ours, theirs = stream
    calls: list[int] = []
    loop.add_reader(ours, calls.append, 1)
    number = ours.fileno()
    ours.close()
    theirs.close()
    loop.call_later(0.01, loop.stop)
    before = time.thread_time()
    loop.run_forever()
    assert time.thread_time() - before < 0.008
    assert calls == []
    assert loop.remove_reader(number)


@ferrio_only
def test_a_number_closed_and_used_again_works_for_its_new_owner(loop: Loop) -> None:
    calls: list[str] = []
    first, other = socket.socketpair()
    number = first.fileno()
    loop.add_reader(first, calls.append, "first owner")
    first.close()
    second, peer = socket.socketpair()
    assert number in (second.fileno(), peer.fileno())
    if peer.fileno() == number:
        second, peer = peer, second
    loop.add_reader(second, calls.append, "second owner")
    peer.send(b"x")
    turn(loop, 2)
    assert calls == ["second owner"] * 2
    assert loop.remove_reader(second)
    for each in (second, peer, other):
        each.close()


def test_a_number_removed_closed_and_used_again_works_for_its_new_owner(loop: Loop) -> None:
    for round_number in range(20):
        calls: list[int] = []
        with_number, peer = socket.socketpair()
        loop.add_reader(with_number, calls.append, round_number)
        loop.add_writer(with_number, int)
        peer.send(b"x")
        turn(loop)
        assert calls == [round_number]
        loop.remove_reader(with_number)
        loop.remove_writer(with_number)
        with_number.close()
        peer.close()


def test_a_stale_readiness_never_reaches_the_next_owner_of_a_number(loop: Loop) -> None:
    calls: list[str] = []
    first, first_peer = socket.socketpair()
    second, second_peer = socket.socketpair()
    fresh: list[socket.socket] = []
    first_peer.send(b"x")
    second_peer.send(b"x")

    def take_over(mine: socket.socket, others: socket.socket, name: str) -> None:
        # The other one is ready in this very turn; its number gets a new, silent owner.
        loop.remove_reader(mine)
        loop.remove_reader(others)
        number = others.fileno()
        others.close()
        ends = socket.socketpair()
        fresh.extend(ends)
        (owner,) = [end for end in ends if end.fileno() == number]
        loop.add_reader(owner, calls.append, "the next owner")
        calls.append(name)

    loop.add_reader(first, take_over, first, second, "first")
    loop.add_reader(second, take_over, second, first, "second")
    turn(loop, 3)
    assert len(calls) == 1
    assert calls[0] in ("first", "second")
    for each in fresh:
        loop.remove_reader(each)
    for each in (first, second, first_peer, second_peer, *fresh):
        each.close()


def test_a_duplicated_number_that_is_closed_after_removal_keeps_no_spin(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    duplicate = os.dup(ours.fileno())
    calls: list[int] = []
    loop.add_reader(duplicate, calls.append, 1)
    theirs.send(b"x")
    turn(loop)
    assert calls == [1]
    loop.remove_reader(duplicate)
    os.close(duplicate)
    loop.call_later(0.01, loop.stop)
    before = time.thread_time()
    loop.run_forever()
    assert time.thread_time() - before < 0.008
    assert calls == [1]


@ferrio_only
def test_a_number_closed_while_a_duplicate_lives_does_not_spin_once_removed(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    # The open file lives on in the duplicate, so the kernel keeps the registration of the closed number.
    number = os.dup(ours.fileno())
    calls: list[int] = []
    loop.add_reader(number, calls.append, 1)
    os.close(number)
    theirs.send(b"x")
    loop.remove_reader(number)
    loop.call_later(0.01, loop.stop)
    before = time.thread_time()
    loop.run_forever()
    used = time.thread_time() - before
    assert calls == []
    assert used < 0.008


def test_two_numbers_of_one_open_file_are_watched_independently(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    duplicate = os.dup(ours.fileno())
    calls: list[str] = []
    loop.add_reader(ours, calls.append, "first")
    loop.add_reader(duplicate, calls.append, "second")
    theirs.send(b"x")
    turn(loop)
    assert sorted(calls) == ["first", "second"]
    loop.remove_reader(duplicate)
    os.close(duplicate)
    calls.clear()
    turn(loop)
    assert calls == ["first"]
    loop.remove_reader(ours)


def test_a_descriptor_detached_from_its_socket_stays_watched(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    calls: list[int] = []
    loop.add_reader(ours, calls.append, 1)
    number = ours.detach()
    theirs.send(b"x")
    turn(loop)
    assert calls == [1]
    assert loop.remove_reader(number)
    os.close(number)


def test_many_descriptors_at_once_are_all_served(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    calls: list[int] = []
    for number, (ours, theirs) in enumerate(pairs):
        loop.add_reader(ours, lambda number=number, ours=ours: (calls.append(number), loop.remove_reader(ours)))
        theirs.send(b"x")
    run_until(loop, lambda: len(calls) == 300)
    assert sorted(calls) == list(range(300))
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


# --- memory -------------------------------------------------------------------------------------------------


def test_a_callback_is_released_when_it_is_removed_or_replaced(loop: Loop, stream: Pair) -> None:
    class Target:
        def method(self) -> None:
            pass

    ours, _ = stream
    targets = [Target() for _ in range(3)]
    gone = [weakref.ref(target) for target in targets]
    loop.add_reader(ours, targets[0].method)
    loop.add_reader(ours, targets[1].method)
    loop.add_writer(ours, targets[2].method)
    targets.clear()
    assert gone[0]() is None
    loop.remove_reader(ours)
    loop.remove_writer(ours)
    assert [reference() for reference in gone] == [None] * 3


def test_a_watched_callback_is_collected_with_its_loop(make_loop: Any, stream: Pair) -> None:
    class Target:
        def method(self) -> None:
            pass

    ours, _ = stream
    loop = make_loop()
    target = Target()
    target.loop = loop  # type: ignore[attr-defined]
    gone = weakref.ref(target)
    loop.add_reader(ours, target.method)
    loop.close()
    del target
    gc.collect()
    assert gone() is None


# --- the socket methods, which watch descriptors ------------------------------------------------------------


def test_sock_methods_move_bytes_both_ways(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        await loop.sock_sendall(ours, b"hello")
        assert await loop.sock_recv(theirs, 100) == b"hello"
        buffer = bytearray(10)
        receiving = asyncio.ensure_future(loop.sock_recv_into(ours, buffer))
        await asyncio.sleep(0)
        assert not receiving.done()
        await loop.sock_sendall(theirs, memoryview(b"back"))
        assert await receiving == 4
        assert buffer[:4] == b"back"

    run(loop, main())


def test_a_cancelled_sock_recv_watches_its_socket_no_more(loop: Any, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        receiving = asyncio.ensure_future(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        theirs.send(b"for the next")
        assert await loop.sock_recv(ours, 100) == b"for the next"

    run(loop, main())
    assert not loop.remove_reader(ours)


def test_sock_connect_and_accept_meet(loop: Loop) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            served, address = await accepting
            assert address == client.getsockname()
            served.close()

    run(loop, main())


def test_sock_connect_to_nobody_is_refused(loop: Loop) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(client, nobody)

    run(loop, main())


def test_the_loops_selector_says_which_watched_descriptors_are_ready(loop: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, print)
        assert not loop._selector.select(0)
        theirs.send(b"x")
        ((key, events),) = loop._selector.select(LIMIT_S)
        assert (key.fd, events) == (ours.fileno(), 1)
        loop.remove_reader(ours)
