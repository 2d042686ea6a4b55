"""Undocumented uses: they may raise, but they do not crash, hang or lose anything."""

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import ferrio
from ferrio._ferrio import LoopCore, StreamTransport
from ferrio._transport import SocketTransport

from .connections import Recorder, connect, connect_both
from .loops import ferrio_only, new_loop, run, run_until, turn

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


def survives(program: str) -> None:
    """Run *program* in a new process, which must end by itself."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.fixture
def eager_collector() -> Iterator[None]:
    """Run the garbage collector as often as possible."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


# --- the garbage collector ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager_collector")
def test_the_collector_may_run_at_every_moment_of_scheduling(loop: Loop) -> None:
    ran: list[int] = []

    def work(number: int) -> None:
        ran.append(number)
        loop.call_later(0, lambda: None)
        loop.call_later(100, lambda: None).cancel()
        loop.call_soon_threadsafe([].append, [number])

    for number in range(30):
        loop.call_soon(work, number)
    turn(loop, 3)
    assert ran == list(range(30))


@pytest.mark.usefixtures("eager_collector")
def test_the_collector_may_run_at_every_moment_of_a_connection(loop: Loop) -> None:
    first, second = connect_both(loop)
    for number in range(5):
        first.transport.write(b"x" * 1000 * number)
        second.transport.writelines([b"y", bytearray(100)])
        turn(loop, 2)
    first.transport.close()
    run_until(loop, lambda: first.protocol.is_lost and second.protocol.is_lost)


def test_a_callback_may_collect_garbage_that_holds_handles_timers_and_transports(loop: Loop) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self
            self.handle = loop.call_soon(int)
            self.timer = loop.call_later(100, self.__init__)
            self.timer.cancel()
            self.connection = connect(loop)
            self.connection.protocol.cycle = self  # type: ignore[attr-defined]

        def end(self) -> None:
            self.connection.end()

    for _ in range(5):
        cycle = Cycle()
        cycle.end()
        del cycle
        loop.call_soon(gc.collect)
        turn(loop)


def test_a_long_chain_of_handles_is_freed_without_deep_recursion() -> None:
    survives(
        """
        import ferrio, gc
        loop = ferrio.Loop()
        handle = None
        for _ in range(200_000):
            handle = loop.call_later(1000, int, handle)
        del handle
        loop.close()
        gc.collect()
        loop = ferrio.Loop()
        handle = None
        for _ in range(200_000):
            handle = loop.call_soon(lambda *args: None, handle)
        del handle
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        """
    )


# --- the end of the interpreter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["new", "stopped", "running in a thread", "closed"])
def test_the_interpreter_ends_with_a_loop_in_every_state(state: str) -> None:
    survives(
        f"""
        import asyncio, ferrio, socket, threading, warnings
        warnings.simplefilter("ignore")
        loop = ferrio.Loop()
        async def use():
            ours, theirs = socket.socketpair()
            global transport, peer
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            peer = theirs
            transport.write(b"x" * (4 << 20))
        loop.call_soon(print)
        loop.call_later(100, print)
        if {state!r} != "new":
            loop.run_until_complete(use())
        if {state!r} == "closed":
            loop.close()
        if {state!r} == "running in a thread":
            ready = threading.Event()
            loop.call_soon(ready.set)
            threading.Thread(target=loop.run_forever, daemon=True).start()
            ready.wait(5)
        """
    )


def test_the_module_can_be_imported_again() -> None:
    survives(
        """
        import sys, ferrio
        ferrio.run(__import__("asyncio").sleep(0))
        for name in [name for name in sys.modules if name.split(".")[0] == "ferrio"]:
            del sys.modules[name]
        try:
            import ferrio
        except ImportError:
            sys.exit(0)
        ferrio.run(__import__("asyncio").sleep(0))
        """
    )


# --- objects that were never made properly -----------------------------------------------------------------------


@ferrio_only
@pytest.mark.parametrize("kind", [SocketTransport, StreamTransport])
def test_a_transport_that_was_never_opened_fails_in_words(kind: Any) -> None:
    transport = kind.__new__(kind)
    used = 0
    for name in dir(kind):
        if name.startswith("__") or name in ("_open", "_report_if_slow"):
            continue
        for args in ((), (b"data",), (None,), (Recorder(),), (ValueError(), "message")):
            try:
                method = getattr(transport, name)
                method(*args)
                used += 1
            except (AttributeError, TypeError, RuntimeError, NotImplementedError, ValueError, OSError):
                continue
    assert used > 10
    with contextlib.suppress(AttributeError):
        repr(transport)
    del transport
    gc.collect()


@ferrio_only
def test_opening_with_the_wrong_things_is_refused(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    closed = socket.socket()
    closed.close()
    wrong: list[tuple[Any, ...]] = [
        (),
        (loop,),
        (None, ours, Recorder(), None, None),
        (asyncio.SelectorEventLoop, ours, Recorder(), None, None),
        (loop, None, Recorder(), None, None),
        (loop, closed, Recorder(), None, None),
        (loop, ours, Recorder(), None, None, None),
    ]
    for args in wrong:
        transport = StreamTransport.__new__(StreamTransport)
        with pytest.raises((TypeError, ValueError, AttributeError)):
            transport._open(*args)
    ours.close()
    theirs.close()


@ferrio_only
def test_a_core_alone_can_schedule_and_turn() -> None:
    core = LoopCore()
    ran: list[int] = []
    core.call_soon(ran.append, 1)
    core.call_later(0, ran.append, 2)
    core.call_soon_threadsafe(ran.append, 3)
    core._run_once()
    assert sorted(ran) == [1, 2, 3]
    assert not core._ready
    core._release()
    del core
    gc.collect()


@ferrio_only
def test_a_loop_that_was_not_initialised_neither_crashes_nor_hangs() -> None:
    loop = ferrio.Loop.__new__(ferrio.Loop)
    loop.call_soon(int)
    loop.call_later(0, int)
    loop._run_once()
    repr_or_error = []
    for use in (repr, ferrio.Loop.close, ferrio.Loop.stop, ferrio.Loop.get_debug):
        try:
            repr_or_error.append(use(loop))
        except AttributeError as error:
            repr_or_error.append(error)
    loop._closed = True
    loop._release()


# --- turns within turns ------------------------------------------------------------------------------------------


@ferrio_only
def test_a_turn_within_a_callback_runs_what_is_ready(loop: Any) -> None:
    ran: list[str] = []

    def outer() -> None:
        ran.append("outer begins")
        loop.call_soon(ran.append, "inner")
        loop._run_once()
        ran.append("outer ends")

    loop.call_soon(outer)
    loop.call_soon(ran.append, "second")
    turn(loop)
    assert ran == ["outer begins", "second", "inner", "outer ends"]


@ferrio_only
def test_a_turn_within_a_protocol_method_serves_other_connections(loop: Any) -> None:
    class Turns(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"early")
            loop._run_once()

    nested, other = connect(loop, Turns), connect(loop)
    nested.peer.send(b"x")
    other.peer.send(b"y")
    run_until(loop, lambda: nested.protocol.received and other.protocol.received)
    assert nested.receive(5) == b"early"
    nested.end()
    other.end()


# --- fork --------------------------------------------------------------------------------------------------------


@ferrio_only
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("what", ["add_writer", "close the loop"])
def test_what_a_forked_child_does_to_its_loop_disturbs_nothing_of_its_parents(loop: Loop, what: str) -> None:
    connection = connect(loop)
    ours, theirs = socket.socketpair()
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    child = os.fork()
    if child == 0:
        try:
            match what:
                case "add_writer":
                    loop.add_writer(ours, int)
                case "close the loop":
                    loop.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    connection.peer.send(b"alive")
    theirs.send(b"alive too")
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert (connection.protocol.received, got) == (b"alive", [b"alive too"])
    loop.remove_reader(ours)
    ours.close()
    theirs.close()
    connection.end()


def test_a_child_process_can_run_a_program_of_its_own_while_the_parents_loop_runs(loop: Loop) -> None:
    async def main() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                # As the standard library does it in a forked worker.
                asyncio.events._set_running_loop(None)
                mine = new_loop()
                status = run(mine, asyncio.sleep(0.001, 7))
                mine.close()
            finally:
                os._exit(status)
        await asyncio.sleep(0.01)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert run(loop, main()) == 7
    assert run(loop, asyncio.sleep(0.001, "goes on")) == "goes on"


# --- limits ------------------------------------------------------------------------------------------------------


def test_an_exhausted_stack_in_a_callback_is_told_and_the_loop_goes_on(
    loop: Loop, contexts: list[dict[str, Any]]
) -> None:
    def recurse() -> None:
        recurse()

    ran: list[int] = []
    loop.call_soon(recurse)
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]
    assert isinstance(contexts[0]["exception"], RecursionError)
    contexts.clear()


@ferrio_only
def test_making_a_loop_without_descriptors_left_is_an_os_error_and_leaks_nothing() -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[socket.socket] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, limits[1]))
    try:
        while True:
            try:
                fillers.append(socket.socket())
            except OSError:
                break
        for free in range(3):
            with pytest.raises(OSError, match="Too many open files") as raised:
                fillers.extend(ferrio.Loop() for _ in range(10))  # type: ignore[misc]
            assert raised.value.errno == 24
            fillers.pop(free).close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for filler in fillers:
            filler.close()


def test_a_large_number_of_timers_is_served(loop: Loop) -> None:
    count = 30_000
    ran: list[int] = []
    base = loop.time()
    for number in range(count):
        loop.call_at(base + (number * 7919 % count) * 1e-8, ran.append, number)
    run_until(loop, lambda: len(ran) == count)
    assert sorted(ran) == list(range(count))
