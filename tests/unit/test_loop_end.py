"""Closing a loop releases its resources, and running one does not leak memory."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import threading
import warnings
import weakref
from typing import Any

import pytest

from .connections import Recorder
from .loops import ferrio_only, new_loop, open_descriptors, run, turn

Loop = asyncio.AbstractEventLoop


def settled_descriptors() -> dict[int, str]:
    """The open descriptors, without those of loops that nothing refers to any more."""
    gc.collect()
    return open_descriptors()


async def use_everything(loop: Loop) -> None:
    """Use every part of a loop that owns a descriptor."""
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(Recorder, *address)
    transport.write(b"data")
    datagram, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    reading, writing = os.pipe()
    read_pipe, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0))
    write_pipe, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(writing, "wb", 0))
    await loop.run_in_executor(None, int)
    loop.add_signal_handler(signal.SIGUSR1, print)
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, print)
    loop.add_writer(theirs, int)
    await asyncio.sleep(0)
    for each in (transport, datagram, read_pipe, write_pipe, server):
        each.close()
    await server.wait_closed()
    loop.remove_writer(theirs)
    loop.remove_reader(ours)
    ours.close()
    theirs.close()
    await loop.shutdown_default_executor()
    await asyncio.sleep(0.001)


def test_closing_a_loop_releases_every_descriptor_at_once() -> None:
    before = settled_descriptors()
    loop = new_loop()
    assert open_descriptors() != before
    loop.close()
    assert open_descriptors() == before


def test_closing_a_loop_that_was_used_releases_every_descriptor_at_once() -> None:
    before = settled_descriptors()
    loop = new_loop()
    run(loop, use_everything(loop))
    loop.close()
    assert open_descriptors() == before


def test_closing_a_loop_with_watched_descriptors_leaves_those_to_their_owner() -> None:
    loop = new_loop()
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, print)
    loop.add_writer(theirs, print)
    loop.close()
    ours.send(b"x")
    assert theirs.recv(1) == b"x"
    ours.close()
    theirs.close()


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_loop_that_nobody_closed_releases_its_descriptors_when_it_is_collected() -> None:
    before = settled_descriptors()
    loop = new_loop()
    turn(loop)
    del loop
    gc.collect()
    assert open_descriptors() == before


def test_a_loop_that_nobody_closed_is_warned_of() -> None:
    loop = new_loop()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


def test_a_hundred_loops_leave_nothing() -> None:
    before = settled_descriptors()
    threads = threading.active_count()
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    for _ in range(100):
        loop = new_loop()
        alive.add(loop)
        loop.call_later(1000, print)
        loop.call_soon(int)
        loop.call_soon_threadsafe(loop.call_soon, int)
        run(loop, asyncio.sleep(0))
        loop.close()
        del loop
    gc.collect()
    assert len(alive) == 0
    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_loops_of_other_threads_leave_nothing() -> None:
    before = settled_descriptors()

    def use() -> None:
        loop = new_loop()
        run(loop, asyncio.sleep(0))
        loop.close()

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert open_descriptors() == before


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def growth(work: Any, rounds: int = 4) -> int:
    """The growth of the process from the first to the last of *rounds* rounds of work."""
    work()
    gc.collect()
    before = resident_bytes()
    for _ in range(rounds - 1):
        work()
    gc.collect()
    return resident_bytes() - before


def test_two_hundred_thousand_callbacks_keep_no_memory(loop: Loop) -> None:
    def work() -> None:
        for _ in range(50):
            for number in range(1000):
                loop.call_soon(int, number)
            turn(loop)

    assert growth(work) < 1 << 20


def test_a_hundred_thousand_cancelled_timers_keep_no_memory(loop: Loop) -> None:
    def work() -> None:
        for _ in range(25):
            for number in range(1000):
                loop.call_later(3600, int, number).cancel()
            turn(loop)

    assert growth(work) < 1 << 20


@ferrio_only
def test_a_hundred_thousand_cancelled_timers_in_one_turn_keep_no_memory(loop: Loop) -> None:
    def work() -> None:
        for number in range(25_000):
            loop.call_later(3600, int, number).cancel()

    assert growth(work) < 1 << 20


def test_connections_that_come_and_go_keep_no_memory(loop: Loop) -> None:
    def work() -> None:
        async def main() -> None:
            for _ in range(150):
                ours, theirs = socket.socketpair()
                transport, _ = await loop.create_connection(Recorder, sock=ours)
                transport.write(b"x" * 1000)
                theirs.close()
                transport.close()
            await asyncio.sleep(0)

        run(loop, main())

    assert growth(work) < 1 << 20


def test_blocks_of_the_interpreter_do_not_grow_with_the_number_of_callbacks(loop: Loop) -> None:
    def work() -> None:
        for number in range(2000):
            loop.call_soon(int, number)
            loop.call_later(0, int, number)
            loop.call_later(100, int, number).cancel()
            loop.call_soon_threadsafe(int, number)
        turn(loop, 3)

    work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(5):
        work()
    gc.collect()
    assert sys.getallocatedblocks() - before < 2500


def test_a_loop_closed_within_a_callback_of_another_loop_is_closed(make_loop: Any) -> None:
    first, second = make_loop(), make_loop()
    first.call_soon(second.close)
    turn(first)
    assert second.is_closed()


def test_closing_tells_of_nothing_that_was_pending(make_loop: Any) -> None:
    loop = make_loop()
    loop.call_soon(print, "never")
    loop.call_later(0, print, "never")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.close()
    assert list(loop._ready) == []
    assert list(loop._scheduled) == []


def test_a_child_process_made_by_fork_can_use_a_loop_of_its_own(make_loop: Any) -> None:
    loop = make_loop()
    turn(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            mine = new_loop()
            ran: list[int] = []
            mine.call_soon_threadsafe(ran.append, 1)
            run(mine, asyncio.sleep(0.001))
            mine.close()
            status = 0 if ran == [1] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The parent's loop has not suffered.
    assert run(loop, asyncio.sleep(0.001, "works")) == "works"


@ferrio_only
@pytest.mark.parametrize("name", ["Children", "ReactorSelector", "follow_forks"])
def test_a_loop_whose_making_fails_leaves_no_descriptor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    before = open_descriptors()
    monkeypatch.setattr(f"ferrio._event_loop.{name}", fail)
    with pytest.raises(MemoryError) as caught:
        new_loop()
    assert open_descriptors() == before
    del caught
