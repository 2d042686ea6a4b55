"""Forking while a loop exists: what the child does with its copies does not affect the parent."""

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio

from .children import fork, in_child
from .loops import LIMIT_S, ferrio_only, new_loop, open_descriptors, run, run_until, turn

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Recorder(asyncio.Protocol):
    """Records its events."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[BaseException | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


@pytest.fixture
def connected(loop: Any) -> Any:
    """A transport's protocol, and the socket at the other end."""
    near, far = socket.socketpair()
    _, protocol = loop.run_until_complete(loop.create_connection(Recorder, sock=near))
    with far:
        yield protocol, far
        if not loop.is_closed():
            protocol.transport.abort()
            run_until(loop, lambda: protocol.lost)


# --- what the child takes away ---------------------------------------------------------------------------------


@ferrio_only
@pytest.mark.parametrize("with_signal_handler", [False, True])
def test_a_child_that_closes_the_inherited_loop_leaves_the_parents_registrations(
    loop: Any, with_signal_handler: bool
) -> None:
    near, far = socket.socketpair()
    heard: list[object] = []

    def hear(what: object) -> None:
        heard.append(what)
        loop.stop()

    def close() -> bool:
        loop.close()
        return bool(loop.is_closed())

    with near, far:
        loop.add_reader(near, hear, "bytes")
        if with_signal_handler:
            loop.add_signal_handler(signal.SIGUSR1, hear, "signal")
        assert in_child(close)
        far.send(b"x")
        loop.call_later(LIMIT_S, loop.stop)
        loop.run_forever()
        assert heard == ["bytes"]
        loop.remove_reader(near)
        if with_signal_handler:
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.run_forever()
            assert heard == ["bytes", "signal"]
            loop.remove_signal_handler(signal.SIGUSR1)


@ferrio_only
def test_what_a_child_no_longer_watches_the_parent_still_hears_of(loop: Any) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []
    with near, far:
        loop.add_reader(near, lambda: heard.append(near.recv(10)))
        loop.add_writer(far, heard.append, b"room")
        assert in_child(lambda: [loop.remove_reader(near), loop.remove_writer(far)]) == [True, True]
        run_until(loop, lambda: heard)
        loop.remove_writer(far)
        heard.clear()
        far.send(b"x")
        run_until(loop, lambda: heard)
        assert heard == [b"x"]
        loop.remove_reader(near)


@ferrio_only
@pytest.mark.parametrize("method", ["pause_reading", "close", "abort"])
def test_what_a_child_does_to_a_transport_the_parents_transport_does_not_feel(
    loop: Any, connected: tuple[Recorder, socket.socket], method: str
) -> None:
    protocol, far = connected

    def act() -> list[Any]:
        getattr(protocol.transport, method)()
        turn(loop, 3)
        return [len(protocol.lost), protocol.received.decode()]

    assert in_child(act) == [method != "pause_reading", ""]
    far.send(b"still here")
    run_until(loop, lambda: protocol.received)
    assert protocol.received == b"still here"
    assert protocol.lost == []


@ferrio_only
def test_resuming_in_the_child_takes_no_byte_from_a_paused_parent(
    loop: Any, connected: tuple[Recorder, socket.socket]
) -> None:
    protocol, far = connected
    protocol.transport.pause_reading()  # type: ignore[attr-defined]

    def resume() -> bool:
        protocol.transport.resume_reading()  # type: ignore[attr-defined]
        loop.close()
        return True

    assert in_child(resume)
    far.send(b"x")
    turn(loop, 3)
    assert protocol.received == b""
    protocol.transport.resume_reading()  # type: ignore[attr-defined]
    run_until(loop, lambda: protocol.received)


@ferrio_only
def test_a_child_that_wakes_its_loop_does_not_wake_the_parents(loop: Any) -> None:
    turns: list[None] = []
    asleep = threading.Event()

    def serve() -> None:
        loop.call_soon(asleep.set)
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    assert asleep.wait(LIMIT_S)
    try:

        def wake() -> bool:
            for _ in range(100):
                loop.call_soon_threadsafe(turns.append, None)
                loop._write_to_self()
            return True

        before = loop.statistics().turns
        for _ in range(3):
            assert in_child(wake)
        # One turn may have been under way.
        assert loop.statistics().turns <= before + 1
        assert turns == []
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


# --- what the child goes on with -------------------------------------------------------------------------------


@ferrio_only
def test_a_loop_that_another_thread_ran_can_be_closed_in_the_child(loop: Any) -> None:
    asleep = threading.Event()

    def serve() -> None:
        loop.call_soon(asleep.set)
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    assert asleep.wait(LIMIT_S)
    try:

        def close() -> list[Any]:
            was_running = loop.is_running()
            loop.close()
            other = new_loop()
            value = other.run_until_complete(asyncio.sleep(0, "ran"))
            other.close()
            return [was_running, value]

        assert in_child(close) == [False, "ran"]
        assert loop.is_running()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@ferrio_only
def test_a_loop_that_another_thread_ran_can_be_run_in_the_child(loop: Any) -> None:
    near, far = socket.socketpair()
    asleep = threading.Event()
    heard: list[bytes] = []

    def serve() -> None:
        loop.add_reader(near, lambda: heard.append(near.recv(10)))
        loop.call_soon(asleep.set)
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    assert asleep.wait(LIMIT_S)
    try:
        with near, far:

            def hear() -> list[str]:
                mine, theirs = socket.socketpair()
                loop.add_reader(mine, lambda: heard.append(mine.recv(10)))
                theirs.send(b"mine")
                run_until(loop, lambda: heard)
                return [data.decode() for data in heard]

            assert in_child(hear) == ["mine"]
            far.send(b"x")
            end = loop.time() + LIMIT_S
            while not heard and loop.time() < end:
                threading.Event().wait(0.001)
            assert heard == [b"x"]
            loop.call_soon_threadsafe(loop.remove_reader, near)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_a_child_of_a_running_loop_has_no_running_loop_and_can_run_another(loop: Any) -> None:
    def look() -> list[Any]:
        try:
            asyncio.get_running_loop()
            found = True
        except RuntimeError:
            found = False
        other = new_loop()
        with asyncio.Runner(loop_factory=lambda: other) as runner:
            value = runner.run(asyncio.sleep(0, "ran"))
        return [found, loop.is_running(), value]

    async def main() -> Any:
        return in_child(look)

    assert run(loop, main()) == [False, True, "ran"]


def test_an_inherited_loop_runs_on_in_the_child_beside_the_parents(loop: Any) -> None:
    child = None

    def talk(name: str) -> list[Any]:
        heard: list[Any] = []
        near, far = socket.socketpair()
        with near, far:
            loop.add_reader(near, lambda: heard.append(near.recv(10).decode()))
            loop.call_later(0.01, far.send, name.encode())
            run_until(loop, lambda: heard)
            loop.remove_reader(near)
        return heard

    def split() -> None:
        nonlocal child
        child = fork()
        loop.stop()

    loop.call_soon(split)
    loop.run_forever()
    assert child is not None
    if child.pid == 0:
        child.report(talk("child"))
    assert talk("parent") == ["parent"]
    assert child.result() == ["child"]


@ferrio_only
def test_both_hear_of_what_was_watched_before_the_fork(loop: Any) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []
    with near, far:
        # A look, so that the bytes are there for both.
        loop.add_reader(near, lambda: heard.append(near.recv(10, socket.MSG_PEEK)))

        def hear() -> bool:
            run_until(loop, lambda: heard)
            return True

        far.send(b"x")
        assert in_child(hear)
        assert hear()
        loop.remove_reader(near)


def test_what_was_written_before_the_fork_arrives_once(loop: Any, connected: tuple[Recorder, socket.socket]) -> None:
    protocol, far = connected
    child = None

    def write_and_split() -> None:
        nonlocal child
        protocol.transport.write(b"once")  # type: ignore[attr-defined]
        child = fork()
        loop.call_soon(loop.stop)

    loop.call_soon(write_and_split)
    loop.run_forever()
    assert child is not None
    if child.pid == 0:
        child.report(True)
    assert child.result()
    far.settimeout(LIMIT_S)
    assert far.recv(100) == b"once"
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(100)


@ferrio_only
def test_what_another_thread_is_writing_is_not_sent_by_the_child(
    loop: Any, connected: tuple[Recorder, socket.socket]
) -> None:
    protocol, far = connected
    written, forked = threading.Event(), threading.Event()

    def write() -> None:
        protocol.transport.write(b"once")  # type: ignore[attr-defined]
        written.set()
        assert forked.wait(LIMIT_S)
        loop.call_soon(loop.stop)

    thread = threading.Thread(target=lambda: (loop.call_soon(write), loop.run_forever()))
    thread.start()
    assert written.wait(LIMIT_S)

    def close() -> bool:
        protocol.transport.close()
        turn(loop, 2)
        loop.close()
        return True

    try:
        assert in_child(close)
    finally:
        forked.set()
        thread.join()
    far.settimeout(LIMIT_S)
    assert far.recv(100) == b"once"
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(100)


# --- signals ---------------------------------------------------------------------------------------------------


@ferrio_only
def test_a_signal_of_the_childs_is_not_heard_by_the_parent(loop: Any) -> None:
    heard: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "signal")

    def signalled() -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        turn(loop, 3)
        loop.close()
        return True

    assert in_child(signalled)
    turn(loop, 3)
    assert heard == []
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: heard)
    loop.remove_signal_handler(signal.SIGUSR1)


@ferrio_only
def test_a_child_can_have_signal_handlers_of_its_own(loop: Any) -> None:
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    def signalled() -> list[str]:
        heard: list[str] = []
        other = new_loop()
        other.add_signal_handler(signal.SIGUSR1, heard.append, "child")
        os.kill(os.getpid(), signal.SIGUSR1)
        run_until(other, lambda: heard)
        other.close()
        return heard

    assert in_child(signalled) == ["child"]
    loop.remove_signal_handler(signal.SIGUSR1)


# --- descriptors, references -----------------------------------------------------------------------------------


@ferrio_only
def test_the_child_has_as_many_descriptors_as_the_parent(loop: Any) -> None:
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)
    before = len(open_descriptors())
    # The pipe through which the child reports is one more.
    assert in_child(lambda: len(open_descriptors())) == before + 1
    assert len(open_descriptors()) == before
    loop.remove_signal_handler(signal.SIGUSR1)


@ferrio_only
def test_following_forks_keeps_no_loop_alive() -> None:
    from ferrio import _fork

    gc.collect()
    before = len(_fork._live)
    loop = ferrio.new_event_loop()
    assert len(_fork._live) == before + 1
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    assert len(_fork._live) == before


@ferrio_only
def test_a_fork_without_spare_descriptors_leaves_the_parent_alone(loop: Any) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []
    limit = 1024

    def starve() -> list[Any]:
        import resource

        # The hook of the grandchild's fork finds no descriptor free.
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        os.close(taken.pop())
        os.close(taken.pop())
        inner = fork()
        if inner.pid == 0:
            loop.call_soon(lambda: None)
            loop.remove_reader(near)
            try:
                loop.close()
            except OSError as error:
                inner.report(repr(error))
            inner.report("closed")
        return [inner.result()]

    with near, far:
        loop.add_reader(near, lambda: heard.append(near.recv(10)))
        assert in_child(starve) == ["closed"]
        far.send(b"x")
        run_until(loop, lambda: heard)
        loop.remove_reader(near)


# --- whole programs --------------------------------------------------------------------------------------------


def _serve_in_child(channel: Any) -> None:
    async def main() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"in the child\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return line

    with asyncio.Runner(loop_factory=new_loop) as runner:
        channel.send(runner.run(main()))
    channel.close()


def test_processes_forked_by_multiprocessing_beside_an_open_server(loop: Any) -> None:
    context = multiprocessing.get_context("fork")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for number in range(3):
                receiving, sending = context.Pipe(duplex=False)
                process = context.Process(target=_serve_in_child, args=(sending,))
                process.start()
                sending.close()
                writer.write(b"in the parent %d\n" % number)
                assert await reader.readline() == b"in the parent %d\n" % number
                assert await loop.run_in_executor(None, receiving.recv) == b"in the child\n"
                await loop.run_in_executor(None, process.join)
                assert process.exitcode == 0
                receiving.close()
                process.close()
            writer.close()
            await writer.wait_closed()

    run(loop, main())


PROGRAM = """
import asyncio, os, sys, ferrio

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()

def split(pids):
    pids.append(os.fork())
    if pids == [0]:
        # Leaves through the loop and the end of the interpreter, which collects what was inherited.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.exit(7)

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"first\\n")
    assert await reader.readline() == b"first\\n"
    pids = []
    asyncio.get_running_loop().call_soon(split, pids)
    await asyncio.sleep(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
    writer.write(b"second\\n")
    assert await reader.readline() == b"second\\n"
    writer.close()
    server.close()
    print("done")

ferrio.run(main())
"""


@ferrio_only
def test_a_child_that_leaves_through_the_interpreters_end_leaves_the_parent_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 2,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_preexec_fn_does_not_disturb_the_loop(loop: Any, connected: tuple[Recorder, socket.socket]) -> None:
    protocol, far = connected

    async def main() -> int:
        process = await asyncio.create_subprocess_exec("/bin/true", preexec_fn=lambda: None)
        far.send(b"x")
        return await process.wait()

    assert run(loop, main()) == 0
    run_until(loop, lambda: protocol.received)


def _forks(function: Callable[[], None]) -> None:
    child = fork()
    if child.pid == 0:
        function()
        child.report(True)
    assert child.result()


@ferrio_only
def test_a_child_of_a_child_is_on_its_own_too(loop: Any) -> None:
    near, far = socket.socketpair()
    heard: list[bytes] = []
    with near, far:
        loop.add_reader(near, lambda: heard.append(near.recv(10)))
        _forks(lambda: _forks(lambda: bool(loop.remove_reader(near)) or None))
        far.send(b"x")
        run_until(loop, lambda: heard)
        loop.remove_reader(near)
