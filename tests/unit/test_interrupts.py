"""KeyboardInterrupt and SystemExit leave the loop, which can be run again; SIGINT ends every kind of wait."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import NAME, ferrio_only, run, run_until, turn

Loop = asyncio.AbstractEventLoop

each_exception = pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])


def raiser(exception: type[BaseException]) -> Callable[..., None]:
    def raise_it(*args: object) -> None:
        raise exception("theirs")

    return raise_it


@each_exception
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
@pytest.mark.parametrize("debug", [False, True])
def test_an_exit_in_a_callback_leaves_the_loop_and_the_rest_runs_later(
    loop: Loop, exception: type[BaseException], method: str, debug: bool
) -> None:
    loop.set_debug(debug)
    ran: list[int] = []
    delay = (0,) if method == "call_later" else ()
    getattr(loop, method)(*delay, ran.append, 1)
    getattr(loop, method)(*delay, raiser(exception))
    getattr(loop, method)(*delay, ran.append, 2)
    with pytest.raises(exception, match="theirs"):
        loop.run_forever()
    assert ran == [1]
    assert not loop.is_running()
    assert not loop.is_closed()
    turn(loop)
    assert ran == [1, 2]


@each_exception
def test_an_exit_in_a_task_leaves_the_loop(loop: Loop, exception: type[BaseException]) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise exception("theirs")

    with pytest.raises(exception, match="theirs"):
        loop.run_until_complete(main())
    assert run(loop, asyncio.sleep(0, "goes on")) == "goes on"


@each_exception
@pytest.mark.parametrize("method", ["data_received", "eof_received", "get_buffer", "buffer_updated"])
def test_an_exit_in_a_protocol_leaves_the_loop_and_the_connection_goes_on(
    loop: Loop, exception: type[BaseException], method: str
) -> None:
    class Exits(Recorder):
        has_exited = False

        def exit_once(self, name: str) -> None:
            if name == method and not self.has_exited:
                self.has_exited = True
                raise exception("theirs")

        def data_received(self, data: bytes) -> None:
            self.exit_once("data_received")
            super().data_received(data)

        def eof_received(self) -> bool:
            self.exit_once("eof_received")
            return super().eof_received()

    class BufferedExits(asyncio.BufferedProtocol, Exits):
        def get_buffer(self, sizehint: int) -> memoryview:
            self.exit_once("get_buffer")
            self.buffer = bytearray(100)
            return memoryview(self.buffer)

        def buffer_updated(self, count: int) -> None:
            self.exit_once("buffer_updated")
            self.events.append(("data", bytes(self.buffer[:count])))

    connection = connect(loop, BufferedExits if "buffer" in method else Exits)
    if method != "eof_received":
        connection.peer.send(b"first")
        with pytest.raises(exception, match="theirs"):
            loop.run_forever()
        connection.peer.send(b"second")
        run_until(loop, lambda: connection.protocol.received.endswith(b"second"))
        connection.peer.close()
    else:
        connection.peer.close()
        with pytest.raises(exception, match="theirs"):
            loop.run_forever()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.lost_with is None


@each_exception
def test_an_exit_in_connection_lost_leaves_the_loop_and_the_socket_is_closed(
    loop: Loop, exception: type[BaseException]
) -> None:
    class Exits(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            raise exception("theirs")

    connection = connect(loop, Exits)
    connection.transport.close()
    with pytest.raises(exception, match="theirs"):
        loop.run_forever()
    assert connection.transport._sock is None
    assert connection.is_at_end()
    connection.peer.close()


@each_exception
def test_an_exit_in_a_reader_callback_leaves_the_loop(loop: Loop, exception: type[BaseException]) -> None:
    connection = connect(loop)
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, raiser(exception))
        theirs.send(b"x")
        with pytest.raises(exception, match="theirs"):
            loop.run_forever()
        assert loop.remove_reader(ours)
    connection.end()


@each_exception
def test_an_exit_in_an_exception_handler_leaves_the_loop(make_loop: Any, exception: type[BaseException]) -> None:
    loop = make_loop()
    loop.set_exception_handler(raiser(exception))
    loop.call_soon(lambda: 1 // 0)
    with pytest.raises(exception, match="theirs"):
        loop.run_forever()
    turn(loop)


# --- SIGINT, in processes of their own ----------------------------------------------------------------------

LOOP = "ferrio.Loop()" if NAME == "ferrio" else "asyncio.SelectorEventLoop()"

HEAD = f"""
import asyncio, functools, os, signal, socket, sys, threading, time
import ferrio
loop = {LOOP}
def ready():
    print("ready", flush=True)
def expect_interrupt():
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        assert not loop.is_running() and not loop.is_closed()
        print("interrupted", flush=True)
    else:
        sys.exit("run_forever() returned")
"""

TAIL = """
ran = []
loop.call_later(0.001, lambda: (ran.append(1), loop.stop()))
loop.run_forever()
assert ran == [1]
loop.close()
print("went on", flush=True)
"""


def interrupted(body: str, tail: str = TAIL, signals: int = 1) -> list[str]:
    """Run a program, send it SIGINT for each line "ready", and return its lines of output."""
    program = HEAD + textwrap.dedent(body) + tail
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if lines[-1] == "ready":
                    process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        except BaseException:
            process.kill()
            raise
    assert (process.returncode, err) == (0, "")
    assert lines.count("ready") == signals
    return [line for line in lines if line != "ready"]


def test_sigint_interrupts_a_loop_that_sleeps_for_ever() -> None:
    assert interrupted("loop.call_soon(ready)\nexpect_interrupt()") == ["interrupted", "went on"]


def test_sigint_interrupts_a_loop_that_waits_for_a_timer() -> None:
    body = "loop.call_later(3600, print)\nloop.call_soon(ready)\nexpect_interrupt()"
    assert interrupted(body) == ["interrupted", "went on"]


def test_sigint_interrupts_a_loop_that_runs_native_callbacks_only() -> None:
    body = """
    again = functools.partial(print)
    again.__setstate__((loop.call_soon, (again,), {}, {}))
    loop.call_soon(ready)
    loop.call_soon(again)
    expect_interrupt()
    again.__setstate__((int, (), {}, {}))
    """
    assert interrupted(body) == ["interrupted", "went on"]


def test_sigint_interrupts_a_loop_that_polls_descriptors_and_runs_native_callbacks() -> None:
    body = """
    a, b = socket.socketpair()
    b.send(b"x")
    loop.add_reader(a, int)
    loop.call_soon(ready)
    expect_interrupt()
    loop.remove_reader(a)
    """
    assert interrupted(body) == ["interrupted", "went on"]


def test_sigint_interrupts_a_loop_that_only_moves_bytes() -> None:
    body = """
    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.data_received = transport.write
    async def connect():
        a, b = socket.socketpair()
        for end in (a, b):
            await loop.create_connection(Echo, sock=end)
        for transport in list(loop._transports.values()):
            transport.write(b"ball")
    loop.run_until_complete(connect())
    loop.call_soon(ready)
    expect_interrupt()
    for transport in list(loop._transports.values()):
        transport.abort()
    """
    assert interrupted(body) == ["interrupted", "went on"]


def test_sigint_that_comes_just_before_the_loop_sleeps_is_not_lost() -> None:
    # Nothing in Python runs between the signal and the sleep: the interpreter has not looked at it yet.
    body = """
    import ctypes
    loop.call_soon(ctypes.CDLL(None).kill, os.getpid(), int(signal.SIGINT))
    loop.call_later(1.5, int)
    started = time.monotonic()
    expect_interrupt()
    assert time.monotonic() - started < 1, "the loop slept with the signal pending"
    """
    assert interrupted(body, signals=0) == ["interrupted", "went on"]


def test_sigint_interrupts_again_and_again() -> None:
    body = "for _ in range(5):\n    loop.call_soon(ready)\n    expect_interrupt()"
    assert interrupted(body, signals=5) == ["interrupted"] * 5 + ["went on"]


def test_a_second_thread_with_a_loop_does_not_take_the_interrupt() -> None:
    body = f"""
    other = {LOOP}
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    loop.call_soon(ready)
    expect_interrupt()
    other.call_soon_threadsafe(other.stop)
    thread.join()
    other.close()
    """
    assert interrupted(body) == ["interrupted", "went on"]


def test_sigint_cancels_the_main_task_of_run() -> None:
    body = """
    loop.close()
    async def main():
        ready()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
    try:
        ferrio.run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    assert interrupted(body, "") == ["cancelled", "interrupted"]


def test_sigint_cancels_the_main_task_of_run_while_the_loop_is_busy() -> None:
    body = """
    loop.close()
    async def main():
        ready()
        try:
            while True:
                await asyncio.sleep(0)
        finally:
            print("cleaned up", flush=True)
    try:
        ferrio.run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    assert interrupted(body, "") == ["cleaned up", "interrupted"]


@ferrio_only
def test_a_python_signal_handler_runs_while_the_loop_sleeps() -> None:
    body = """
    def handler(signum, frame):
        os.write(1, b"handled\\n")  # "ready" may still be on its way through the buffer, which lets nobody in twice
        loop.stop()
    signal.signal(signal.SIGINT, handler)
    loop.call_soon(ready)
    loop.call_later(60, lambda: sys.exit("too late"))
    loop.run_forever()
    print("stopped", flush=True)
    """
    # A handler that does not raise does not end the wait on asyncio's loop, which starts to wait again.
    assert interrupted(body, "") in (["handled", "stopped"],)
