"""What ``loop.statistics()`` counts when it is asked: connections, bytes to be sent, tasks, the executor's calls."""

import asyncio
import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ferrio

from .loops import LIMIT_S, ferrio_only, run_until, turn

pytestmark = ferrio_only

MUCH = 10_000_000


def connected(loop: ferrio.Loop) -> tuple[asyncio.Transport, socket.socket]:
    near, far = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
    return transport, far


def test_connections_count_from_their_making_to_their_end(loop: ferrio.Loop) -> None:
    first, first_peer = connected(loop)
    second, second_peer = connected(loop)
    with first_peer, second_peer:
        assert loop.statistics().connections == 2
        first.close()
        turn(loop, 2)
        assert loop.statistics().connections == 1
        second.abort()
        turn(loop, 2)
        assert loop.statistics().connections == 0


def test_a_connection_over_asyncios_own_transport_counts_too(loop: ferrio.Loop) -> None:
    class Other(socket.socket):
        def send(self, data: Any, flags: int = 0) -> int:
            raise BlockingIOError

    near, far = socket.socketpair()
    with far:
        other = Other(near.family, near.type, near.proto, near.detach())
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=other))
        transport.write(b"12345")
        assert loop.statistics()[12:14] == (1, 5)
        transport.abort()
        turn(loop, 2)
        assert loop.statistics()[12:14] == (0, 0)


def test_the_bytes_of_every_transport_are_added_up(loop: ferrio.Loop, tmp_path: Path) -> None:
    transports = [connected(loop), connected(loop)]
    reads, writes = os.pipe()
    end = os.fdopen(writes, "wb", 0)
    pipe, _ = loop.run_until_complete(loop.connect_write_pipe(asyncio.Protocol, end))
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(str(tmp_path / "far"))
    endpoint, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=str(tmp_path / "far"), family=socket.AF_UNIX
        )
    )
    writers: list[Any] = [pipe]
    for transport, _ in transports:
        transport.write(bytes(MUCH))
        writers.append(transport)
    pipe.write(bytes(MUCH))
    for _ in range(1000):
        endpoint.sendto(bytes(1000))
    writers.append(endpoint)
    sizes = [writer.get_write_buffer_size() for writer in writers]
    assert all(sizes)
    assert loop.statistics().queued_bytes == sum(sizes)
    # Neither a pipe nor an endpoint is a connection.
    assert loop.statistics().connections == 2
    for writer in writers:
        writer.abort()
    turn(loop, 2)
    assert loop.statistics().queued_bytes == 0
    os.close(reads)
    for peer in (far, *(peer for _, peer in transports)):
        peer.close()


def test_tasks_are_those_that_are_alive(loop: ferrio.Loop) -> None:
    ends = loop.create_future()

    async def wait() -> None:
        await ends

    tasks = [loop.create_task(wait()) for _ in range(5)]
    tasks.append(asyncio.Task(wait(), loop=loop))
    assert loop.statistics().tasks == 6
    ends.set_result(None)
    loop.run_until_complete(asyncio.wait(tasks))
    # They are still referred to, but done.
    assert loop.statistics().tasks == 0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets the threads of an executor go."""
    event = threading.Event()
    yield event
    event.set()


def test_the_executors_calls_wait_or_run(loop: ferrio.Loop, gate: threading.Event) -> None:
    begun = threading.Semaphore(0)

    def call() -> None:
        begun.release()
        gate.wait(LIMIT_S)

    loop.set_default_executor(ThreadPoolExecutor(2))
    assert loop.statistics()[-2:] == (0, 0)
    calls = [loop.run_in_executor(None, call) for _ in range(5)]
    for _ in range(2):
        assert begun.acquire(timeout=LIMIT_S)
    assert loop.statistics()[-2:] == (3, 2)
    gate.set()
    loop.run_until_complete(asyncio.gather(*calls))
    # A thread is idle a moment after its call has told its result.
    run_until(loop, lambda: loop.statistics()[-2:] == (0, 0))
    loop.run_until_complete(loop.shutdown_default_executor())
    assert loop.statistics()[-2:] == (0, 0)


def test_an_executor_of_another_kind_has_no_figures(loop: Any) -> None:
    # asyncio's method takes executors with threads only; older releases did not look.
    loop._default_executor = object()
    assert loop.statistics()[-2:] == (0, 0)
    loop._default_executor = None


def test_a_task_that_another_thread_looks_at_is_freed_by_the_loops_thread(loop: ferrio.Loop) -> None:
    freed_by: list[int] = []
    goes_on = True

    class Local:
        def __del__(self) -> None:
            freed_by.append(threading.get_ident())

    async def short() -> Local:
        return Local()

    def look() -> None:
        while goes_on:
            assert loop.statistics().tasks >= 0

    async def main() -> None:
        nonlocal goes_on
        thread.start()
        for _ in range(2000):
            loop.create_task(short())
            await asyncio.sleep(0)
        goes_on = False
        await asyncio.to_thread(thread.join)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=look)
    try:
        loop.run_until_complete(main())
    finally:
        goes_on = False
        sys.setswitchinterval(before)
    turn(loop, 2)
    assert set(freed_by) == {threading.get_ident()}
    assert len(freed_by) == 2000


def test_a_blocked_loop_has_one_callback_however_often_it_is_asked(loop: ferrio.Loop) -> None:
    def look() -> None:
        for _ in range(5):
            loop.statistics()

    def block() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        ready.append(loop.statistics().ready)

    ready: list[int] = []
    loop.call_soon(block)
    turn(loop, 3)
    assert ready == [1]


def test_counting_keeps_nothing_alive(loop: ferrio.Loop) -> None:
    transport, peer = connected(loop)
    with peer:
        task = loop.create_task(asyncio.sleep(0))
        references: list[Callable[[], Any]] = [weakref.ref(transport), weakref.ref(task)]
        loop.run_until_complete(asyncio.to_thread(loop.statistics))
        transport.abort()
        turn(loop, 2)
        del transport, task
        gc.collect()
        assert [reference() for reference in references] == [None, None]
