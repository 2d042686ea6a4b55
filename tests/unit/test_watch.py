"""``ferrio.watch``: what blocks a loop is reported, with its place, while it does.

A callback that is to be found blocks until it has been, or for far longer than the limit, so that no test depends on
how fast the machine is.
"""

import asyncio
import contextvars
import gc
import itertools
import logging
import os
import re
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only

SLOW_S = 0.05
LIMIT_S = 15.0


#: The functions here that block.
BLOCKING = {"sleep_until", "wait_until", "compute_until", "match_for_long"}


def is_meant(stall: ferrio.Stall) -> bool:
    """Whether a stall is one that a test has made: on a busy machine any callback may last for long."""
    functions = [place.function for place in stall.stack if place.file == __file__]
    return any(function in BLOCKING or function.endswith("<locals>.main") for function in functions)


class Reports:
    """Reported stalls that are meant, and whether there is one."""

    def __init__(self) -> None:
        self.stalls: list[ferrio.Stall] = []
        self.texts: list[str] = []
        self.come = threading.Event()
        #: Readable when one has come.
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(LIMIT_S)

    def __call__(self, stall: ferrio.Stall) -> None:
        if not is_meant(stall):
            return
        self.stalls.append(stall)
        self.texts.append(str(stall))
        self.come.set()
        self.theirs.send(b"!")

    @property
    def only(self) -> ferrio.Stall:
        """The one that there is."""
        [stall] = self.stalls
        return stall


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """One that is at its last look has a descriptor open."""
    yield
    wait_for(lambda: not threads())


@pytest.fixture
def reports() -> Iterator[Reports]:
    made = Reports()
    with made.ours, made.theirs:
        yield made


def run(reports: Reports, main: Callable[[], Any], **options: Any) -> None:
    """Run *main* on a watched loop, up to and with its end."""

    async def watched() -> None:
        result = main()
        if asyncio.iscoroutine(result):
            await result

    loop = ferrio.new_event_loop()
    ferrio.watch(loop, slow_s=SLOW_S, report=reports, **options)
    loop.run_until_complete(watched())
    loop.close()


def line_of(function: Callable[..., Any], text: str) -> int:
    """The line of *function* that has *text*."""
    source = Path(function.__code__.co_filename).read_text(encoding="utf-8").splitlines()
    first = function.__code__.co_firstlineno
    return next(number for number, line in enumerate(source[first:], first + 1) if text in line)


# --- the four ways of blocking ---------------------------------------------------------------------------------------


def sleep_until(reports: Reports) -> None:
    """Block in C, without the interpreter, until the report is there."""
    deadline = time.monotonic() + LIMIT_S
    while not reports.stalls and time.monotonic() < deadline:
        time.sleep(4 * SLOW_S)  # blocks


def wait_until(reports: Reports) -> None:
    """Wait for an answer from the network, as a client that is not asynchronous does."""
    reports.ours.recv(1)  # blocks


def compute_until(reports: Reports) -> None:
    """A loop of Python code."""
    deadline = time.monotonic() + LIMIT_S
    while not reports.stalls and time.monotonic() < deadline: pass  # blocks # fmt: skip # noqa: E701


@pytest.mark.parametrize("block", [sleep_until, wait_until, compute_until])
def test_what_blocks_is_reported_with_its_line_while_it_does(
    reports: Reports, block: Callable[[Reports], None]
) -> None:
    found: list[int] = []

    async def main() -> None:
        block(reports)
        found.append(len(reports.stalls))

    run(reports, main)
    assert found == [1]
    blocking = reports.only.stack[-1]
    assert (blocking.function, blocking.line) == (block.__qualname__, line_of(block, "# blocks"))
    assert blocking.file == __file__
    assert reports.only.stack[-2].function.endswith("main")
    assert not reports.only.kept_interpreter
    assert "# blocks" in reports.texts[0]


def match_for_long() -> object:
    """A pattern that has to try a number of ways that is exponential in the length."""
    return re.match(r"(a+)+$", "a" * 24 + "b")  # blocks


def test_c_code_that_keeps_the_interpreter_is_reported_with_its_line(reports: Reports) -> None:
    run(reports, match_for_long)
    assert any(place.function == "match_for_long" for place in reports.only.stack)
    place = next(place for place in reports.only.stack if place.function == "match_for_long")
    assert place.line == line_of(match_for_long, "# blocks")
    assert reports.only.coroutine is not None
    assert reports.only.coroutine.endswith("watched")


KEEPS_THE_INTERPRETER = """
import ctypes, os, sys
import ferrio

def block():
    # Unlike other functions of ctypes, those of a PyDLL are called with the interpreter.
    ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)

async def main():
    ferrio.watch(slow_s=0.02, report=lambda stall: print(stall.kept_interpreter, stall.stack[-1].line, flush=True))
    block()

ferrio.run(main())
"""


def test_what_keeps_the_interpreter_is_written_to_the_standard_error_while_it_does(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KEEPS_THE_INTERPRETER)
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stdout is not None
        text = b""
        while b"in block" not in text:
            ready, _, _ = select.select([process.stderr], [], [], LIMIT_S)
            assert ready, text
            text += os.read(process.stderr.fileno(), 4096)
        # It still waits for this byte: only the thread that needs no interpreter can have written the text.
        process.stdin.write(b"!")
        process.stdin.close()
        assert f'File "{program}", line 7, in block' in text.decode()
        assert process.stdout.read() == b"True 7\n"
        assert process.wait(LIMIT_S) == 0


# --- what a report says ----------------------------------------------------------------------------------------------


def test_a_report_names_the_task_its_coroutine_and_what_the_hook_finds_in_the_context(reports: Reports) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")

    async def handler() -> None:
        request.set("id 7")
        sleep_until(reports)

    async def main() -> None:
        await asyncio.create_task(handler(), name="a request")

    run(reports, main, context=lambda context: {"request": context.get(request)})
    assert reports.only.task == "a request"
    assert reports.only.coroutine == handler.__qualname__
    if sys.version_info < (3, 12) and not reports.only.context:
        pytest.skip("the place of the context was not found when Ferrio was imported, and the task does not say it")
    assert reports.only.context == {"request": "id 7"}
    assert "request = 'id 7'" in reports.texts[0]


def test_a_callback_without_a_task_is_reported_as_such(reports: Reports) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(sleep_until, reports)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(reports, main)
    assert reports.only.task is None
    assert [place.function for place in reports.only.stack] == ["sleep_until"]


def test_a_report_is_logged_once_with_the_stall(reports: Reports, caplog: pytest.LogCaptureFixture) -> None:
    run(reports, lambda: sleep_until(reports))
    [record] = [record for record in caplog.records if record.name == "ferrio.watch"]
    assert record.levelno == logging.WARNING
    assert record.stall is reports.only  # type: ignore[attr-defined]
    assert "sleep_until" in record.getMessage()


def test_what_the_report_raises_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Event()

    def fail(_stall: ferrio.Stall) -> None:
        calls.set()
        raise ValueError("on purpose")

    async def main() -> None:
        ferrio.watch(slow_s=SLOW_S, report=fail)
        await asyncio.sleep(0)
        assert calls.wait(LIMIT_S)
        calls.clear()
        await asyncio.sleep(0)
        assert calls.wait(LIMIT_S)

    ferrio.run(main())
    assert "on purpose" in caplog.text


def test_equal_stalls_are_counted_and_not_repeated(reports: Reports) -> None:
    async def main() -> None:
        watch = asyncio.get_running_loop()._watch  # type: ignore[attr-defined]
        for times in (1, 2, 3):
            await asyncio.sleep(0)
            deadline = time.monotonic() + LIMIT_S
            while (not watch.stalls or watch.stalls[0].times < times) and time.monotonic() < deadline:
                time.sleep(4 * SLOW_S)
        assert [stall.times for stall in watch.stalls] == [3]

    run(reports, main)
    assert reports.only.times == 3


def test_a_stall_that_goes_on_is_looked_at_again_and_its_end_is_noted(reports: Reports) -> None:
    async def main() -> None:
        watch = asyncio.get_running_loop()._watch  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        deadline = time.monotonic() + LIMIT_S
        while (not watch.stalls or len(watch.stalls[0].captures) < 3) and time.monotonic() < deadline:
            time.sleep(SLOW_S)
        assert not watch.stalls[0].is_over

    run(reports, main)
    lasted = [capture.lasted_s for capture in reports.only.captures]
    assert lasted[0] >= SLOW_S
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(lasted))
    assert reports.only.lasted_s >= lasted[-1]


def test_many_short_callbacks_are_no_stall(reports: Reports) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends = time.monotonic() + 8 * SLOW_S
        while time.monotonic() < ends:
            for _ in range(100):
                loop.call_soon(int)
            await asyncio.sleep(0)

    # A machine may stall for as long as SLOW_S.
    async def watched() -> None:
        ferrio.watch(slow_s=10.0, report=reports)
        await main()

    ferrio.run(watched())
    assert reports.stalls == []


# --- the life of a watch ---------------------------------------------------------------------------------------------


def threads() -> list[str]:
    """The names of the process's threads that belong to a watch."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found.append((task / "comm").read_text().strip())
        except OSError:
            continue
    return [name for name in found if name.startswith("ferrio-watch")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.005)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ferrio-watch")]


def test_both_threads_end_with_the_loop(reports: Reports) -> None:
    run(reports, lambda: None)
    wait_for(lambda: not threads())
    assert ours() == []


def test_stopping_ends_both_threads_and_the_loop_goes_on(reports: Reports) -> None:
    async def main() -> None:
        watch = ferrio.watch(slow_s=SLOW_S, report=reports)
        watch.stop()
        watch.stop()
        wait_for(lambda: not threads())
        assert ours() == []
        time.sleep(5 * SLOW_S)

    ferrio.run(main())
    assert reports.stalls == []


def test_another_watch_takes_the_place_of_the_first(reports: Reports) -> None:
    async def main() -> None:
        first = ferrio.watch(slow_s=SLOW_S, report=lambda _: pytest.fail("the first"))
        ferrio.watch(slow_s=SLOW_S, report=reports)
        first.stop()
        await asyncio.sleep(0)
        sleep_until(reports)

    ferrio.run(main())
    assert len(reports.stalls) == 1


def test_a_loop_is_watched_from_its_next_run_on(reports: Reports) -> None:
    loop = ferrio.new_event_loop()
    with ferrio.watch(loop, slow_s=SLOW_S, report=reports):
        assert threads() == []
        loop.call_soon(sleep_until, reports)
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    assert reports.only.stack[-1].function == "sleep_until"


def test_a_watch_does_not_keep_a_loop_alive() -> None:
    loop: Any = ferrio.new_event_loop()
    watch = ferrio.watch(loop, slow_s=SLOW_S)
    loop.call_soon(loop.stop)
    loop.run_forever()
    wait_for(lambda: bool(threads()))
    reference = weakref.ref(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        gc.collect()
    assert reference() is None
    wait_for(lambda: not threads() and not ours())
    watch.stop()


ENDS = """
import asyncio, ferrio, time
loop = ferrio.new_event_loop()
ferrio.watch(loop, slow_s=0.02)
loop.run_until_complete(asyncio.sleep(0))
print("the end")
"""


def test_a_watched_loop_that_is_never_closed_does_not_keep_the_program_alive() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert ended.stdout == "the end\n"


def test_a_forked_child_watches_its_loop_anew(reports: Reports) -> None:
    loop = ferrio.new_event_loop()
    ferrio.watch(loop, slow_s=SLOW_S, report=reports)
    loop.run_until_complete(asyncio.sleep(0))
    with warnings.catch_warnings():
        # Since 3.12 Python warns of a fork while there are threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            loop.call_soon(sleep_until, reports)
            loop.call_soon(loop.stop)
            loop.run_forever()
            status = 0 if len(reports.stalls) == 1 and reports.only.stack[-1].function == "sleep_until" else 1
            loop.close()
            status = status or (2 if threads() and not wait_for(lambda: not threads()) and threads() else 0)
        except BaseException:
            status = 3
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reports.stalls == []
    loop.call_soon(sleep_until, reports)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(reports.stalls) == 1


def test_signals_are_blocked_in_the_native_thread() -> None:
    async def main() -> None:
        ferrio.watch(slow_s=SLOW_S)
        wait_for(lambda: "ferrio-watch" in threads())
        for task in Path("/proc/self/task").iterdir():
            if (task / "comm").read_text() == "ferrio-watch\n" and int(task.name) not in {t.native_id for t in ours()}:
                status = (task / "status").read_text()
                blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
                assert blocked >> 1 & 1, "SIGINT"
                return
        pytest.fail("no native thread")

    ferrio.run(main())


# --- ways in ---------------------------------------------------------------------------------------------------------


def test_the_running_loop_is_watched_by_default_and_only_ferrios_can_be(reports: Reports) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        ferrio.watch()
    other = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError):
        ferrio.watch(other)
    other.close()
    closed = ferrio.new_event_loop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        ferrio.watch(closed)
    run(reports, lambda: sleep_until(reports))
    assert len(reports.stalls) == 1


@pytest.mark.parametrize("slow_s", [0, -1, float("nan"), float("inf")])
def test_the_limit_is_a_positive_number(slow_s: float) -> None:
    loop = ferrio.new_event_loop()
    with pytest.raises(ValueError, match="positive"):
        ferrio.watch(loop, slow_s=slow_s)
    loop.close()


PROGRAM = """
import asyncio, sys, time

async def main():
    ends = time.monotonic() + 1
    while time.monotonic() < ends:
        time.sleep(0.5)

asyncio.run(main())
"""


def outcome(arguments: list[str], variable: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "FERRIO_WATCH"}
    if variable is not None:
        environment["FERRIO_WATCH"] = variable
    return subprocess.run(
        [sys.executable, "-m", "ferrio", *arguments],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environment,
    )  # fmt: skip


def test_the_command_line_and_the_environment_have_every_loop_watched(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    for found in (outcome(["--watch", "0.05", str(program)]), outcome([str(program)], "0.05")):
        assert found.returncode == 0
        assert found.stderr.count("has been blocked") == 1
        assert f'File "{program}", line 7, in main' in found.stderr
    for variable in (None, "", "0"):
        assert outcome([str(program)], variable).stderr == ""


def test_a_limit_that_is_no_number_is_refused() -> None:
    for arguments in (["--watch"], ["--watch", "soon", "-c", ""], ["--watch", "-1", "-c", ""]):
        found = outcome(arguments)
        assert found.returncode == 2
        assert "--watch" in found.stderr
    found = outcome(["-c", "import asyncio; asyncio.run(asyncio.sleep(0))"], "soon")
    assert found.returncode == 1
    assert "FERRIO_WATCH: " in found.stderr


# --- reading a stack from outside ------------------------------------------------------------------------------------


def test_a_stack_read_from_outside_is_the_interpreters(reports: Reports) -> None:
    """Functions with names of every width, lines far apart, generators, classes, comprehensions."""
    names: dict[str, Any] = {"found": [], "sys": sys}
    blank = "\n" * 300
    source = f"""
def größe(look):{blank}
    return (lambda: look())()

class Класс:
    def 函数(self, look):
        return [größe(look) for _ in range(1)][0]

def 𠀀(look):
    yield Класс().函数(look)
"""
    exec(compile(source, "a file, ä, 文件, 𠀀", "exec"), names)
    seen: list[tuple[Any, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        watchdog = ferrio._ferrio.Watchdog(loop, 1.0)  # type: ignore[arg-type]
        assert watchdog.reads_stacks, "nothing is known of the frames of this interpreter"

        def look() -> None:
            frame: Any = sys._getframe().f_back
            outside, expected = watchdog.stack(), []
            while frame is not None:
                expected.append((frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno))
                frame = frame.f_back
            seen.append((outside, expected))

        next(names["𠀀"](look))

    ferrio.run(main())
    [(outside, expected)] = seen
    assert outside[0][1].endswith("look")
    assert outside[1:] == expected


def test_looking_at_a_thread_that_runs_python_code_does_no_harm() -> None:
    """The reader and the code that it reads race with each other here for as long as the test lasts."""
    loop = ferrio.new_event_loop()
    ferrio.watch(loop, slow_s=0.001)
    logging.getLogger("ferrio.watch").setLevel(logging.CRITICAL)

    def deep(depth: int) -> int:
        return deep(depth - 1) + 1 if depth else len([exec("lambda: 0") for _ in range(3)])

    def work() -> None:
        ends = time.monotonic() + 0.05
        while time.monotonic() < ends:
            for depth in range(40):
                deep(depth)

    try:
        for _ in range(20):
            loop.call_soon(work)
            loop.call_soon(loop.stop)
            loop.run_forever()
    finally:
        logging.getLogger("ferrio.watch").setLevel(logging.NOTSET)
        loop.close()
