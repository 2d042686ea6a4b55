"""A descriptor's number with several users, at the same time and one after the other."""

import asyncio
import gc
import os
import socket
import warnings
import weakref
from typing import Any

import pytest

from ..loops import ferrio_only, new_loop, run, run_until, turn
from ..socket_pairs import Pair, drain, fill, tcp_pair
from .sockets import Loop, ended, in_turn, waiting


def test_reading_and_writing_wait_side_by_side(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    filled = fill(ours)
    reading = waiting(loop, loop.sock_recv(ours, 10))
    writing = waiting(loop, loop.sock_sendall(ours, b"end"))
    theirs.send(b"abc")
    assert run(loop, ended(reading)) == b"abc"
    assert not writing.done()
    assert drain(theirs) == filled
    run(loop, ended(writing))
    assert theirs.recv(10) == b"end"


def test_a_second_wait_takes_the_place_of_the_first(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    first = waiting(loop, loop.sock_recv(ours, 10))
    second = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert run(loop, ended(second)) == b"abc"
    theirs.send(b"def")
    turn(loop, 3)
    assert not first.done()
    first.cancel()
    turn(loop, 2)
    assert ours.recv(10) == b"def"


def test_a_reader_takes_the_place_of_a_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    assert not task.done()
    task.cancel()
    turn(loop, 2)
    theirs.send(b"def")
    run_until(loop, lambda: len(got) == 2)
    assert loop.remove_reader(ours)


def test_a_wait_takes_the_place_of_a_reader(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    loop.add_reader(ours, pytest.fail, "the reader was replaced")
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert run(loop, ended(task)) == b"abc"
    turn(loop)
    assert not loop.remove_reader(ours)


def test_a_removed_reader_was_the_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)
    theirs.send(b"abc")
    turn(loop, 3)
    assert not task.done()
    task.cancel()
    turn(loop, 2)
    assert ours.recv(10) == b"abc"


def test_a_writer_beside_a_waiting_receive(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    calls: list[int] = []
    loop.add_writer(ours, calls.append, 1)
    turn(loop, 2)
    assert calls
    theirs.send(b"abc")
    assert run(loop, ended(task)) == b"abc"
    assert loop.remove_writer(ours)
    theirs.send(b"def")
    assert run(loop, in_turn(loop.sock_recv(ours, 10))) == [b"def"]


def test_a_send_that_waits_beside_a_reader(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    fill(ours)
    task = waiting(loop, loop.sock_sendall(ours, b"end"))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    drain(theirs)
    run(loop, ended(task))
    assert loop.remove_reader(ours)
    assert not loop.remove_writer(ours)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_wait_behind_a_reader_that_is_cancelled(loop: Loop, stream: Pair, cancelled: bool) -> None:
    ours, theirs = stream
    loop.add_writer(ours, lambda: None)
    task = waiting(loop, loop.sock_recv(ours, 10))
    if cancelled:
        task.cancel()
        turn(loop, 2)
        assert task.cancelled()
        assert not loop.remove_reader(ours)
    else:
        assert loop.remove_reader(ours)
        task.cancel()
        turn(loop, 2)
    theirs.send(b"abc")
    turn(loop, 2)
    assert ours.recv(10) == b"abc"
    assert loop.remove_writer(ours)


def test_a_socket_that_has_waited_becomes_a_transports(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    async def main() -> None:
        for end in (ours, theirs):
            end.setblocking(False)
        loop.call_soon(theirs.send, b"abc")
        assert await loop.sock_recv(ours, 10) == b"abc"
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.send(b"def")
        assert await reader.read(10) == b"def"
        writer.close()
        await writer.wait_closed()

    with theirs:
        run(loop, main())


# --- numbers that change hands ------------------------------------------------------------------------------


def reopened(number: int, sock: socket.socket) -> socket.socket:
    """Move *sock* to the free descriptor *number*."""
    if sock.fileno() == number:
        return sock
    os.dup2(sock.fileno(), number)
    sock.close()
    return socket.socket(fileno=number)


def test_a_closed_number_is_another_sockets_at_once(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    for _ in range(5):
        ours.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, ended(task)) == b"abc"
        number = ours.fileno()
        ours.close()
        theirs.close()
        ours, theirs = socket.socketpair()
        ours = reopened(number, ours)
        assert ours.fileno() == number
    ours.close()
    theirs.close()


@ferrio_only
def test_a_wait_on_a_closed_socket_never_takes_from_the_next_one(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stale = waiting(loop, loop.sock_recv(ours, 10))
    number = ours.fileno()
    ours.close()
    theirs.close()
    mine, other = socket.socketpair()
    with other, reopened(number, mine) as mine:
        mine.setblocking(False)
        task = waiting(loop, loop.sock_recv(mine, 10))
        other.send(b"abc")
        assert run(loop, ended(task)) == b"abc"
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(loop, ended(stale))


@ferrio_only
def test_a_number_closed_behind_a_sockets_back_is_not_read(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stale = waiting(loop, loop.sock_recv(ours, 10))
    number = ours.fileno()
    os.close(number)
    theirs.close()
    mine, other = socket.socketpair()
    with other, reopened(number, mine) as mine:
        mine.setblocking(False)
        task = waiting(loop, loop.sock_recv(mine, 10))
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(loop, ended(stale))
        # `ours` still believes that the number is its own.
        assert ours.fileno() == number
        other.send(b"abc")
        for call in (loop.sock_recv(ours, 10), loop.sock_sendall(ours, b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                run(loop, in_turn(call))
        assert run(loop, ended(task)) == b"abc"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        ours.detach()


@pytest.mark.parametrize("begin", [False, True])
def test_a_file_put_under_the_number_of_a_socket_is_heard_of(loop: Loop, begin: bool) -> None:
    ours, theirs = socket.socketpair()
    mine, other = socket.socketpair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, ended(task)) == b"abc"
        os.dup2(mine.fileno(), ours.fileno())
        task = loop.create_task(loop.sock_recv(ours, 10))  # type: ignore[arg-type]
        if begin:
            turn(loop, 2)
        other.send(b"def")
        assert run(loop, ended(task)) == b"def"


@ferrio_only
def test_a_number_given_away_between_two_receives_of_one_step_ends_the_second(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    mine, other = tcp_pair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)

        async def main() -> None:
            assert await loop.sock_recv(ours, 10) == b"abc"
            os.dup2(mine.fileno(), ours.fileno())
            with pytest.raises(OSError, match="Bad file descriptor"):
                await loop.sock_recv(ours, 10)
            # What begins after that is about the file that has the number now.
            other.send(b"def")
            assert await loop.sock_recv(ours, 10) == b"def"

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, ended(task))


@ferrio_only
def test_a_receive_after_a_short_one_asks_in_the_next_turn(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        seen: list[Any] = []

        async def main() -> None:
            seen.append(await loop.sock_recv(ours, 10))
            theirs.send(b"def")
            loop.call_soon(seen.append, "a turn")
            seen.append(await loop.sock_recv(ours, 10))

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, ended(task))
        assert seen == [b"abc", "a turn", b"def"]


def test_a_receive_after_a_full_one_finds_the_rest_at_once(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        seen: list[Any] = []

        async def main() -> None:
            for _ in range(2):
                seen.append(await loop.sock_recv(ours, 3))
                loop.call_soon(seen.append, "a turn")

        task = waiting(loop, main())
        theirs.send(b"abcdef")
        run(loop, ended(task))
        turn(loop, 1)
        assert seen == [b"abc", b"def", "a turn", "a turn"]


@ferrio_only
def test_a_busy_loop_confirms_its_waits(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    mine, other = tcp_pair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)

        async def main() -> None:
            assert await loop.sock_recv(ours, 10) == b"abc"
            os.dup2(mine.fileno(), ours.fileno())
            await loop.sock_recv(ours, 10)

        async def spin() -> None:
            while not task.done():
                await asyncio.sleep(0)

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, spin())
        assert isinstance(task.exception(), OSError)


def test_a_detached_number_goes_on_under_another_object(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, ended(task)) == b"abc"
        with socket.socket(fileno=ours.detach()) as again:
            task = waiting(loop, loop.sock_recv(again, 10))
            theirs.send(b"def")
            assert run(loop, ended(task)) == b"def"


def test_two_objects_with_one_number_wait_in_both_directions(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    with theirs, ours:
        alias = socket.socket(fileno=ours.fileno())
        filled = fill(ours)
        reading = waiting(loop, loop.sock_recv(ours, 10))
        writing = waiting(loop, loop.sock_sendall(alias, b"end"))
        theirs.send(b"abc")
        assert run(loop, ended(reading)) == b"abc"
        assert drain(theirs) == filled
        run(loop, ended(writing))
        alias.detach()


def test_the_loop_keeps_no_socket_alive(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, ended(task)) == b"abc"
        seen = weakref.ref(ours)
        del task
        turn(loop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del ours
            gc.collect()
        assert seen() is None
        with pytest.raises(BrokenPipeError):
            theirs.send(b"x")


def test_a_forgotten_loop_with_a_waiting_task_is_collected(stream: Pair) -> None:
    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    seen = weakref.ref(loop)
    loop.close()
    del loop, task
    gc.collect()
    assert seen() is None
