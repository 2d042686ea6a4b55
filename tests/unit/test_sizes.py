"""Sizes that a program chooses: one that is too large raises before anything has been done."""

import asyncio
import ctypes
import math
import mmap
import os
import resource
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from .children import in_child
from .connections import Recorder, connect
from .datagrams.endpoints import Recorder as DatagramRecorder
from .loops import ferrio_only, new_loop, run, run_until, turn

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20
GIB = 1 << 30
#: Nobody has so many descriptors.
NOT_OPEN = 2**31 - 1


def with_little_memory(scenario: Callable[[], Any]) -> Any:
    """Return the result of *scenario* in a child that can allocate at most a gibibyte more."""

    def limited() -> Any:
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * mmap.PAGESIZE
        limit = size + GIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return scenario()

    return in_child(limited)


def large_view() -> memoryview:
    """Nearly a gibibyte of a mapped file, which uses no memory until it is read."""
    file = os.memfd_create("large")
    os.ftruncate(file, GIB - 64 * MIB)
    return memoryview(mmap.mmap(file, GIB - 64 * MIB, prot=mmap.PROT_READ))


# --- numbers of descriptors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add_reader", "add_writer", "_add_reader", "_add_writer"])
def test_a_number_that_is_not_open_costs_no_memory(method: str) -> None:
    def scenario() -> str:
        loop = new_loop()
        try:
            getattr(loop, method)(NOT_OPEN, print)
        except OSError as exc:
            return f"{exc.errno}"
        return "no error"

    assert with_little_memory(scenario) == "9"


def test_numbers_that_are_refused_leave_nothing(loop: Loop) -> None:
    for _ in range(3):
        with pytest.raises(OSError, match="Bad file descriptor"):
            loop.add_reader(NOT_OPEN, print)
    assert not loop.remove_reader(NOT_OPEN)
    with pytest.raises(OverflowError):
        loop.add_reader(2**31, print)
    for negative in (-1, -(2**63), -(2**70)):
        with pytest.raises(ValueError, match=f"Invalid file descriptor: {negative}"):
            loop.add_reader(negative, print)
        with pytest.raises(ValueError, match=f"Invalid file descriptor: {negative}"):
            loop.remove_writer(negative)


def test_a_high_number_that_is_open_is_watched(loop: Loop) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(soft, 4096) - 1
    reading, writing = os.pipe()
    os.dup2(reading, number)
    read: list[bytes] = []
    loop.add_reader(number, lambda: read.append(os.read(number, 10)))
    os.write(writing, b"x")
    run_until(loop, lambda: read)
    assert loop.remove_reader(number)
    for each in (reading, writing, number):
        os.close(each)


@ferrio_only
def test_refused_numbers_do_not_keep_their_callbacks(loop: Loop) -> None:
    class Callback:
        def __call__(self) -> None: ...

    callback = Callback()
    alive = weakref.ref(callback)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(NOT_OPEN, callback)
    del callback
    assert alive() is None


# --- memory ------------------------------------------------------------------------------------------------------


def test_a_large_mapped_file_is_written_or_refused_and_nothing_between() -> None:
    def scenario() -> list[Any]:
        loop = new_loop()
        connection = connect(loop)
        view = large_view()
        # Together with what is mapped there is no room for a copy.
        outcome = []
        for write in (connection.transport.write, lambda data: connection.transport.writelines([b"1", data])):
            try:
                write(view)
            except MemoryError:
                outcome.append("refused")
            else:
                outcome.append("written")
                break
            connection.peer.setblocking(False)
            try:
                outcome.append(len(connection.peer.recv(10)))
            except BlockingIOError:
                outcome.append(0)
            outcome.append(connection.transport.get_write_buffer_size())
        connection.transport.abort()
        turn(loop, 2)
        return outcome

    assert with_little_memory(scenario) in (["refused", 0, 0] * 2, ["written"])


def test_a_large_datagram_is_refused() -> None:
    def scenario() -> list[str]:
        loop = new_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            transport, protocol = run(
                loop, loop.create_datagram_endpoint(DatagramRecorder, remote_addr=peer.getsockname())
            )
            transport.sendto(large_view())
            transport.abort()
            turn(loop, 2)
            return [os.strerror(exc.errno) for exc in protocol.errors if isinstance(exc, OSError) and exc.errno]

    assert with_little_memory(scenario) == ["Message too long"]


@pytest.mark.parametrize("size", [2**40, 2**62, sys.maxsize])
def test_a_receive_for_more_than_there_is_memory_is_refused(size: int) -> None:
    def scenario() -> list[Any]:
        loop = new_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.send(b"x")
        outcome: list[Any] = []
        try:
            run(loop, loop.sock_recv(ours, size))
        except (MemoryError, OverflowError) as exc:
            outcome.append(type(exc).__name__)
        outcome.append(run(loop, loop.sock_recv(ours, 10)).decode())
        return outcome

    expected = "OverflowError" if size == sys.maxsize else "MemoryError"
    assert with_little_memory(scenario) == [expected, "x"]


# --- numbers that say how much -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [2**31, 2**62, 2**63, 2**64, 2**100])
def test_a_limit_of_any_size_is_taken(loop: Loop, limit: int) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(limit)
    low, high = connection.transport.get_write_buffer_limits()
    assert 0 < low < high
    connection.transport.write(b"x" * MIB)
    assert "pause" not in connection.protocol.names
    connection.transport.set_write_buffer_limits(low=limit)
    with pytest.raises(ValueError, match="must be >= 0"):
        connection.transport.set_write_buffer_limits(-limit)
    connection.end()


@pytest.mark.parametrize("delay", [2**63, 2**100, math.inf, 1e308, sys.maxsize])
def test_a_delay_of_any_size_waits(loop: Loop, delay: float) -> None:
    handles = [loop.call_later(delay, pytest.fail), loop.call_at(delay, pytest.fail)]
    turn(loop, 2)
    for handle in handles:
        handle.cancel()


# --- the buffer of a write ---------------------------------------------------------------------------------------

BUFFERS: dict[str, Callable[[bytes], Any]] = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "of four bytes": lambda data: memoryview(data).cast("I"),
    "with gaps": lambda data: memoryview(bytes(byte for each in data for byte in (each, 0)))[::2],
    "array of ctypes": lambda data: memoryview((ctypes.c_char * len(data)).from_buffer_copy(data)),
}


# asyncio's own counts bytes where a view has larger items, and sends no view with gaps.
@ferrio_only
@pytest.mark.parametrize("size", [4, 64 * 1024, 64 * 1024 + 4, 2 * MIB])
@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_a_buffer_arrives_as_it_was_when_it_was_written(loop: Loop, make: Any, size: int) -> None:
    connection = connect(loop)
    data = bytes(number * 7 % 251 for number in range(size))
    buffer = make(data)

    def write() -> None:
        connection.transport.write(b"before")
        connection.transport.write(buffer)
        connection.transport.write(b"after")

    loop.call_soon(write)
    expected = b"before" + data + b"after"
    assert connection.receive(len(expected)) == expected
    connection.transport.write(buffer)
    assert connection.receive(size) == data
    connection.end()


@ferrio_only
def test_a_large_buffer_may_change_as_soon_as_it_is_written(loop: Loop) -> None:
    connection = connect(loop)
    buffer = bytearray(b"x" * (4 * MIB))
    connection.transport.write(buffer)
    assert 0 < connection.transport.get_write_buffer_size() < 4 * MIB
    buffer[:] = b"y" * len(buffer)
    buffer.clear()
    assert connection.receive(4 * MIB) == b"x" * (4 * MIB)
    assert connection.protocol.names == ["made", "pause", "resume"]
    connection.end()


def test_a_large_buffer_for_a_peer_that_has_gone_ends_the_connection(loop: Loop) -> None:
    connection = connect(loop, Recorder)
    connection.transport.pause_reading()
    connection.peer.close()
    connection.transport.write(bytearray(MIB))
    run_until(loop, lambda: connection.protocol.is_lost)
    assert isinstance(connection.protocol.lost_with, BrokenPipeError)
