"""What looks at a running program from outside or beside it: call graphs, tracebacks of a hung loop, alarms, traced
memory, warnings with their source, exceptions that nobody can catch."""

import asyncio
import contextlib
import gc
import linecache
import re
import signal
import subprocess
import sys
import textwrap
import tracemalloc
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .connections import connect
from .loops import NAME, run, run_until, turn

Loop = asyncio.AbstractEventLoop

HERE = str(Path(__file__))
LIMIT_S = 15

#: Runs the coroutine function `main` of a program on the loop under test.
RUN_MAIN = f"""
import {NAME}
with asyncio.Runner(loop_factory={NAME}.new_event_loop) as runner:
    runner.run(main())
"""

call_graphs = pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio has call graphs from 3.14 on")


def start(program: str, *flags: str) -> subprocess.Popen[str]:
    """Run *program*, which defines ``main``, on the loop under test in a new process."""
    text = "import asyncio, sys\n" + textwrap.dedent(program) + RUN_MAIN
    return subprocess.Popen(
        [sys.executable, "-u", *flags, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit status and the output; kills the process after a limit."""
    try:
        out, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return process.returncode, out, errors


# --- the call graph -----------------------------------------------------------------------------------------------

#: Tasks that wait for each other, `main` < `middle` < (`left`, `right`), and a loop that sleeps.
FAMILY = """
async def leaf(ready):
    ready.set()
    await asyncio.Event().wait()

async def middle(events):
    async with asyncio.TaskGroup() as group:
        for name, event in events.items():
            group.create_task(leaf(event), name=name)

async def main():
    events = {"left": asyncio.Event(), "right": asyncio.Event()}
    task = asyncio.create_task(middle(events), name="middle")
    for event in events.values():
        await event.wait()
    asyncio.get_running_loop().call_soon(print, "ready")
    await task
"""


@contextlib.contextmanager
def family() -> Iterator[int]:
    """The process that runs FAMILY."""
    process = start(FAMILY)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def asyncio_tool(command: str, pid: int) -> str:
    """The output of ``python -m asyncio COMMAND PID``."""
    ran = subprocess.run(
        [sys.executable, "-m", "asyncio", command, str(pid)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if "PermissionError" in ran.stderr or "Operation not permitted" in ran.stderr:
        pytest.skip("reading another process's memory is not permitted here (ptrace)")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@call_graphs
def test_asyncio_ps_lists_the_tasks_of_a_running_program_with_those_who_wait_for_them() -> None:
    with family() as pid:
        lines = asyncio_tool("ps", pid).splitlines()
    rows = {cells[2]: cells for line in lines if (cells := re.split(r"\s{2,}", line.strip()))[0] == str(pid)}
    assert rows.keys() == {"Task-1", "middle", "left", "right"}
    for name, (coroutine, awaiter) in {
        "middle": ("middle", "Task-1"),
        "left": ("leaf", "middle"),
        "right": ("leaf", "middle"),
    }.items():
        assert rows[name][3].endswith(coroutine)
        assert awaiter in rows[name][4:]
    assert rows["Task-1"][3] == "main"


@call_graphs
def test_asyncio_pstree_draws_the_tasks_of_a_running_program() -> None:
    with family() as pid:
        drawn = asyncio_tool("pstree", pid)
    tasks = [(line.index("(T)"), line.partition("(T) ")[2]) for line in drawn.splitlines() if "(T)" in line]
    (first, main), (second, middle), (third, one), (fourth, other) = tasks
    assert (main, middle, {one, other}) == ("Task-1", "middle", {"left", "right"})
    assert first < second < third == fourth
    assert "Event.wait" in drawn


@call_graphs
def test_a_call_graph_of_the_own_program_shows_who_waits_for_whom(loop: Loop) -> None:
    async def leaf() -> Any:
        await asyncio.sleep(0)
        return asyncio.capture_call_graph()  # type: ignore[attr-defined]

    async def main() -> Any:
        task = asyncio.create_task(leaf(), name="leaf")
        return await task

    graph = run(loop, main())
    assert graph.future.get_name() == "leaf"
    assert [awaiter.call_stack[0].frame.f_code.co_name for awaiter in graph.awaited_by] == ["main"]
    text = asyncio.format_call_graph(graph.future)  # type: ignore[attr-defined]
    assert "leaf" in text


def test_the_stack_of_a_task_that_waits_ends_where_it_waits(loop: Loop) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    task = loop.create_task(wait())
    turn(loop)
    (frame,) = task.get_stack()
    assert frame.f_code.co_name == "wait"
    assert asyncio.all_tasks(loop) == {task}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


# --- tracebacks of a loop that hangs ----------------------------------------------------------------------------


def test_faulthandler_shows_where_a_callback_hangs() -> None:
    status, _, errors = finish(
        start(
            """
            import faulthandler, threading

            def hang():
                threading.Event().wait()

            async def main():
                faulthandler.dump_traceback_later(0.05, exit=True)
                asyncio.get_running_loop().call_soon(hang)
                await asyncio.Event().wait()
            """
        )
    )
    assert status == 1, errors
    frames = re.findall(r'File "[^"]+", line \d+ in (\S+)', errors)
    assert frames.index("hang") < frames.index("run_forever")


def test_faulthandler_shows_a_loop_that_sleeps_as_often_as_it_is_asked() -> None:
    status, out, errors = finish(
        start(
            """
            import faulthandler, os

            async def main():
                readable, writable = os.pipe()
                faulthandler.dump_traceback_later(0.02, repeat=True, file=writable)
                read, enough = bytearray(), asyncio.Event()

                def on_readable():
                    read.extend(os.read(readable, 65536))
                    if read.count(b"Timeout (") >= 5:
                        enough.set()

                loop = asyncio.get_running_loop()
                loop.add_reader(readable, on_readable)
                await enough.wait()
                faulthandler.cancel_dump_traceback_later()
                loop.remove_reader(readable)
                os.close(readable)
                os.close(writable)
                print(read.decode())
            """
        )
    )
    assert status == 0, errors
    # A dump that falls into the callback finds no innermost frame at rest.
    assert any("in run_forever" in dump and "in <module>" in dump for dump in out.split("Timeout (")[1:])


def test_a_signal_of_faulthandler_shows_a_sleeping_loop_and_does_not_end_its_sleep() -> None:
    status, out, errors = finish(
        start(
            """
            import faulthandler, os, signal

            async def main():
                faulthandler.register(signal.SIGUSR1)
                loop = asyncio.get_running_loop()
                started = loop.time()
                await loop.run_in_executor(None, os.kill, os.getpid(), signal.SIGUSR1)
                await asyncio.sleep(0.03)
                print("slept", loop.time() - started >= 0.03)
            """
        )
    )
    assert (status, out) == (0, "slept True\n"), errors
    assert "in run_forever" in errors


# --- alarms -------------------------------------------------------------------------------------------------------


@pytest.fixture
def alarm() -> Iterator[None]:
    """Restore SIGALRM and stop the process's timers."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Alarm(Exception):
    pass


def ring(number: int, frame: types.FrameType | None) -> None:
    raise Alarm


@pytest.mark.usefixtures("alarm")
def test_an_alarm_that_raises_ends_the_sleep_of_the_loop_which_can_go_on(loop: Loop) -> None:
    signal.signal(signal.SIGALRM, ring)
    later = loop.call_later(3600, loop.stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(Alarm):
        loop.run_forever()
    later.cancel()
    assert not loop.is_running()
    assert run(loop, asyncio.sleep(0, "goes on")) == "goes on"


@pytest.mark.usefixtures("alarm")
def test_an_alarm_that_raises_in_a_callback_is_that_callbacks_exception(
    loop: Loop, contexts: list[dict[str, Any]]
) -> None:
    signal.signal(signal.SIGALRM, ring)

    def work() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        end = loop.time() + LIMIT_S
        while loop.time() < end:
            pass

    loop.call_soon(work)
    run_until(loop, lambda: contexts)
    assert isinstance(contexts[0]["exception"], Alarm)
    assert "work" in contexts[0]["message"]


@pytest.mark.usefixtures("alarm")
def test_repeated_alarms_neither_delay_nor_hurry_timers(loop: Loop) -> None:
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    started = loop.time()
    run(loop, asyncio.sleep(0.05))
    passed = loop.time() - started
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(rung) >= 5
    assert 0.05 - 0.001 <= passed < LIMIT_S


@pytest.mark.usefixtures("alarm")
def test_an_alarm_reaches_a_handler_of_the_loop(loop: Loop) -> None:
    rung: list[str] = []
    loop.add_signal_handler(signal.SIGALRM, rung.append, "rung")
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    run_until(loop, lambda: rung)
    assert rung == ["rung"]
    assert loop.remove_signal_handler(signal.SIGALRM)


#: A transport that nobody closes and nobody holds.
FORGET_A_TRANSPORT = """
import gc, socket, tracemalloc
async def main():
    tracemalloc.start(20)
    ours, peer = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.pause_reading()
    del ours, transport, _
    await asyncio.sleep(0)
    gc.collect()
    peer.close()
"""


# --- traced memory ------------------------------------------------------------------------------------------------


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(25)
    yield
    tracemalloc.stop()


def lines_of(thing: object) -> list[str]:
    """The lines of this file in the traceback of where *thing* was made, innermost last."""
    made = tracemalloc.get_object_traceback(thing)
    assert made is not None, f"{thing!r} was not traced"
    return [linecache.getline(HERE, frame.lineno).strip() for frame in made if frame.filename == HERE]


@pytest.mark.usefixtures("traced")
def test_traced_memory_leads_from_a_handle_to_the_line_that_made_it_also_when_its_memory_is_used_again(
    loop: Loop,
) -> None:
    # Freed handles keep their memory for the next, up to 1024 of a kind: what was freed before the tracing began has
    # to be in use again.
    occupied = [
        make()
        for _ in range(1025)
        for make in (
            lambda: loop.call_soon(print),
            lambda: loop.call_later(3600, print),
            lambda: loop.call_soon_threadsafe(print),
        )
    ]
    for handle in occupied:
        handle.cancel()
    for _ in range(3):
        soon = loop.call_soon(print)
        assert lines_of(soon)[-1] == "soon = loop.call_soon(print)"
        later = loop.call_later(3600, print)
        assert lines_of(later)[-1] == "later = loop.call_later(3600, print)"
        safe = loop.call_soon_threadsafe(print)
        assert lines_of(safe)[-1] == "safe = loop.call_soon_threadsafe(print)"
        for handle in (soon, later, safe):
            handle.cancel()
        del soon, later, safe, handle
        turn(loop)
    del occupied


@pytest.mark.usefixtures("traced")
def test_traced_memory_does_not_grow_with_the_callbacks_timers_and_bytes_of_a_loop(loop: Loop) -> None:
    received: list[int] = [0]

    class Count(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received[0] += len(data)

    connection = connect(loop, Count)

    def work(times: int) -> None:
        for number in range(times):
            loop.call_soon(id, number)
            loop.call_later(0, id, number).cancel()
            loop.call_soon_threadsafe(id, number)
            connection.transport.write(b"written")
            connection.peer.send(b"received")
            turn(loop, 2)
            connection.peer.recv(100)

    with connection.peer:
        work(100)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        work(500)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        connection.transport.abort()
        turn(loop, 2)
    assert received == [600 * len(b"received")]
    # Two bytes for each of the rounds would show.
    assert after - before < 1000


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="tracemalloc of 3.11 does not find objects whose dictionary lies before them"
)
def test_the_warning_about_a_forgotten_transport_says_where_it_was_made() -> None:
    status, _, errors = finish(start(FORGET_A_TRANSPORT, "-W", "always"))
    assert status == 0, errors
    warning = errors[errors.index("ResourceWarning: unclosed transport <") :]
    _, _, made = warning.partition("Object allocated at")
    assert 'File "<string>"' in made


# --- exceptions that nobody can catch -----------------------------------------------------------------------------


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the calls of `sys.unraisablehook`: the exception, and the text about the object."""
    found: list[Any] = []

    def note(info: Any) -> None:
        # From 3.14 on the message has the object in it.
        found.append((info.exc_value, f"{info.err_msg} {info.object!r}"))

    monkeypatch.setattr(sys, "unraisablehook", note)
    return found


class FailsToEnd:
    def __call__(self) -> None:
        pass

    def __del__(self) -> None:
        raise ZeroDivisionError("at its end")


def test_a_destructor_that_fails_when_the_loop_drops_a_callback_is_named(loop: Loop, unraisable: list[Any]) -> None:
    ran: list[int] = []
    loop.call_soon(FailsToEnd())
    loop.call_soon(lambda argument: None, FailsToEnd())
    loop.call_soon_threadsafe(FailsToEnd())
    loop.call_later(0, FailsToEnd())
    loop.call_later(3600, FailsToEnd()).cancel()
    loop.call_soon(ran.append, 1)
    run_until(loop, lambda: len(unraisable) == 5)
    assert ran == [1]
    for exception, text in unraisable:
        assert repr(exception) == "ZeroDivisionError('at its end')"
        assert "FailsToEnd.__del__" in text


def test_a_destructor_that_fails_keeps_the_exception_of_the_callback(
    loop: Loop, unraisable: list[Any], contexts: list[dict[str, Any]]
) -> None:
    def fail(argument: object) -> None:
        raise ValueError("theirs")

    loop.call_soon(fail, FailsToEnd())
    turn(loop)
    assert [repr(context["exception"]) for context in contexts] == ["ValueError('theirs')"]
    contexts.clear()
    gc.collect()
    assert [repr(exception) for exception, _ in unraisable] == ["ZeroDivisionError('at its end')"]


def test_a_weak_reference_whose_callback_fails_does_not_disturb_the_loop(loop: Loop, unraisable: list[Any]) -> None:
    def fail(reference: object) -> None:
        raise ZeroDivisionError("of a weak reference")

    class Callback:
        def __call__(self) -> None:
            pass

    callback = Callback()
    reference = weakref.ref(callback, fail)
    loop.call_soon(callback)
    del callback
    turn(loop)
    assert reference() is None
    ((exception, text),) = unraisable
    assert repr(exception) == "ZeroDivisionError('of a weak reference')"
    assert "fail" in text


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            f"""
            import {NAME}
            async def main():
                pass
            loop = {NAME}.new_event_loop()
            del loop
            """,
            "unclosed event loop <",
        ),
        (
            FORGET_A_TRANSPORT,
            "unclosed transport <",
        ),
    ],
    ids=["loop", "transport"],
)
def test_a_forgotten_object_whose_warning_is_an_error_is_reported_by_name(program: str, expected: str) -> None:
    status, _, errors = finish(start(program, "-W", "error::ResourceWarning"))
    assert status == 0, errors
    assert re.search(r"^Exception ignored (in|while calling deallocator)", errors, re.MULTILINE)
    assert f"ResourceWarning: {expected}" in errors
