"""``python -m ferrio top``: what a process does, in a terminal and in a pipe, blocked or not."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ferrio
from ferrio import _top, inspect

from .loops import ferrio_only

pytestmark = [ferrio_only, pytest.mark.timeout(120)]

LIMIT_S = 60.0

BUSY = """
import asyncio, sys
import ferrio

async def worker():
    while True:
        await asyncio.sleep(0.001)

async def main():
    workers = [asyncio.create_task(worker(), name="\\x1b[2Jmischief") for _ in range(20)]
    sys.stdout.write("now\\n"); sys.stdout.flush()
    await asyncio.gather(*workers)

ferrio.run(main())
"""

BLOCKED = """
import asyncio, ctypes, os, sys
import ferrio

def block():
    sys.stdout.write("now\\n"); sys.stdout.flush()
    HOW

async def main():
    block()

ferrio.run(main())
"""


@contextlib.contextmanager
def program(folder: Path, source: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs it and has got as far as to say "now"."""
    path = folder / "program.py"
    path.write_text(source)
    environment = os.environ | {"FERRIO_INSPECT": "1"}
    process = subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        yield process
    finally:
        process.kill()
        process.communicate()


class Terminal:
    """``top`` in a terminal."""

    def __init__(self, *arguments: str, lines: int = 60, columns: int = 200) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ferrio", "top", *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            # As readline leaves it, whose size is not that of the terminal.
            env=os.environ | {"LINES": "24", "COLUMNS": "80"},
        )
        self.text = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def frames(self) -> list[list[str]]:
        """The lines of every whole frame of the text."""
        found = re.findall(re.escape(_top.HOME) + "(.*?)" + re.escape(_top.REST_OF_SCREEN), self.text, re.DOTALL)
        return [re.split(r"\r+\n", each.replace(_top.REST_OF_LINE, "")) for each in found]

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def wait_for(self, is_there: Callable[[str], object]) -> str:
        """The text from here on, once it is as wanted."""
        ends = time.monotonic() + LIMIT_S
        self.text = ""
        while not is_there(self.text):
            assert time.monotonic() < ends, self.text
            ready, _, _ = select.select([self.master], [], [], 0.2)
            if ready:
                self.text += os.read(self.master, 1 << 16).decode()
        return self.text

    def end(self) -> int:
        """The exit status; what is written until then is read, so that nobody waits for room."""
        ends = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < ends
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.text += os.read(self.master, 1 << 16).decode()
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 1 << 16).decode()
        return self.process.returncode


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferrio", "top", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_a_terminal_shows_rates_times_and_tasks_and_keys_are_heard(tmp_path: Path) -> None:
    with program(tmp_path, BUSY) as process, Terminal("--interval", "0.2", str(process.pid)) as terminal:
        screen = terminal.wait_for(lambda text: re.search(r"  worker\W", text) and "20  worker, " in text)
        assert re.search(r"callbacks [1-9]\d*/s", screen)
        assert re.search(r"timers [1-9]\d*/s", screen)
        assert re.search(r"timer lag +[\d.]+ +[\d.]+ [mu]?s", screen)
        assert re.search(r"waits +[\d.]+ +[\d.]+ [mu]?s.*%", screen)
        assert "is running" in screen
        terminal.press("s")
        stacks = terminal.wait_for(lambda text: "q: quit" in text and "worker waits for" in text)
        assert "?[2Jmischief" in stacks
        assert "\x1b[2J" not in stacks
        terminal.press("s")
        terminal.wait_for(lambda text: "20  worker, " in text)
        terminal.press("q")
        assert terminal.end() == 0
        # The terminal is as it was.
        assert terminal.text.endswith(_top.LEAVE)
        assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_gives_the_terminal_back(tmp_path: Path, how: signal.Signals) -> None:
    with program(tmp_path, BUSY) as process, Terminal("--interval", "0.2", str(process.pid)) as terminal:
        terminal.wait_for(lambda text: "20  worker, " in text)
        terminal.process.send_signal(how)
        assert terminal.end() == 0
        assert terminal.text.endswith(_top.LEAVE)
        assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_end_of_the_process_is_said_after_the_terminal_was_given_back(tmp_path: Path) -> None:
    with program(tmp_path, BUSY) as process, Terminal("--interval", "0.2", str(process.pid)) as terminal:
        terminal.wait_for(lambda text: "20  worker, " in text)
        process.kill()
        assert terminal.end() == 1
        assert "does not answer" in terminal.text.rpartition(_top.LEAVE)[2]


@pytest.mark.parametrize("how", ["os.read(0, 1)", "ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)"])
def test_a_blocked_process_shows_what_blocks_it(tmp_path: Path, how: str) -> None:
    with program(tmp_path, BLOCKED.replace("HOW", how)) as process:
        shown = top("--once", "--interval", "0.1", str(process.pid))
        assert shown.returncode == 0, shown
        assert "is BLOCKED" in shown.stdout
        assert f'File "{tmp_path / "program.py"}", line 7, in block' in shown.stdout
        assert ("is kept by a function in C" in shown.stdout) == ("PyDLL" in how)
        with Terminal("--interval", "0.1", str(process.pid)) as terminal:
            terminal.wait_for(lambda text: "is BLOCKED" in text and "in block" in text)
            assert process.stdin is not None
            process.stdin.write(b"!")
            process.stdin.flush()
            process.wait(LIMIT_S)
            assert terminal.end() == 1


DEEP = """
import os, sys
import ferrio

def dive(depth):
    if depth:
        return dive(depth - 1)
    sys.stdout.write("now\\n"); sys.stdout.flush()
    os.read(0, 1)

async def main():
    dive(40)

ferrio.run(main())
"""


def test_a_small_terminal_shows_what_blocks_whatever_has_called_it_and_may_change_its_size(tmp_path: Path) -> None:
    with (
        program(tmp_path, DEEP) as process,
        Terminal("--interval", "0.1", str(process.pid), lines=20, columns=60) as terminal,
    ):

        def shows(lines: int, columns: int) -> list[str] | None:
            """A frame that fills the terminal and in which what blocks can be read."""
            for frame in terminal.frames():
                if len(frame) == lines and any("os.read(0, 1)" in line[:columns] for line in frame):
                    return frame
            return None

        terminal.wait_for(lambda _: shows(20, 60))
        terminal.resize(24, 100)
        terminal.wait_for(lambda _: shows(24, 100))
        frame = shows(24, 100)
        assert frame is not None
        assert "    ... 36 outer calls" in frame
        terminal.resize(5, 30)
        terminal.wait_for(lambda _: any(len(frame) == 5 for frame in terminal.frames()))
        terminal.resize(20, 60)
        # All that is known is some pages long.
        terminal.press("s")
        terminal.wait_for(lambda text: "in main" in text)
        for _ in range(8):
            terminal.press("j")
        terminal.wait_for(lambda text: "Task-1: main" in text)
        for _ in range(9):
            terminal.press("k")
        terminal.wait_for(lambda text: "CPython" in text and "in main" in text)


def test_without_a_terminal_there_is_one_frame(tmp_path: Path) -> None:
    with program(tmp_path, BUSY) as process:
        shown = top("--interval", "0.3", str(process.pid))
        assert shown.returncode == 0
        assert shown.stdout.startswith(f"process {process.pid}: ")
        assert "20  worker, " in shown.stdout
        assert "\x1b" not in shown.stdout
        assert shown.stderr == ""


def test_a_process_that_does_not_answer_is_named() -> None:
    # No process has this number.
    shown = top("4194305")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "process 4194305 does not answer" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["--interval"], ["--interval", "0", "1"], ["--interval", "x", "1"], ["1", "2"], ["--nothing", "1"]],
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    shown = top(*arguments)
    assert shown.returncode == 2
    assert "python -m ferrio: top: " in shown.stderr


def test_loops_are_measured_while_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "VISIT_S", 0.2)
    inspect.serve()

    async def main() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ferrio.Loop)
        ferrio.watch(slow_s=100)
        await asyncio.to_thread(inspect.ask, os.getpid(), "summary")
        found = await asyncio.to_thread(inspect.ask, os.getpid(), "summary")
        assert loop.histograms().callbacks.total > 0
        ends = time.monotonic() + LIMIT_S
        while loop._wanted_measures["inspect"]:
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        before = loop.histograms().callbacks.total
        await asyncio.sleep(0)
        assert loop.histograms().callbacks.total == before
        return found

    try:
        [loop] = [loop for loop in ferrio.run(main())["loops"] if loop["is_running"]]
    finally:
        inspect.close()
    assert loop["task_count"] == loop["tasks_looked_at"] == 1
    assert loop["groups"][0]["coroutine"].endswith("main")
    assert sum(loop["histograms"]["waits"][:-1]) > 0
    assert any(name.endswith("main") for name in loop["coroutines"])
    assert loop["stalls"] == []


def test_a_frame_has_what_happened_between_two_looks() -> None:
    def loop(turns: int, times: list[int], cpu_s: float) -> dict[str, Any]:
        counters = dict.fromkeys(ferrio.Statistics._fields, 0) | {"turns": turns, "sent_bytes": turns * 1024}
        counts = [*times, *[0] * (26 - len(times))]
        histograms = {name: [*counts, sum(counts) * 1e-6] for name in ("timer_lag", "turns", "callbacks", "waits")}
        return {
            "loop": "Loop at 0x1",
            "is_running": True,
            "stack": None,
            "statistics": counters,
            "task_count": 5,
            "tasks_looked_at": 4,
            "histograms": histograms,
            "coroutines": {"one": [turns, cpu_s, 0.002], "idle": [7, 1.0, 1.0]},
            "groups": [{"count": 4, "coroutine": "one", "waits_for": None, "place": ["a.py", "f", 3]}],
            "stalls": [
                {"lasted_s": 1.5, "times": 2, "is_over": False, "coroutine": None, "place": ["b.py", "g\x07", 4]}
            ],
        }

    earlier = _top.Look(10.0, 1.0, {"pid": 1, "loops": [loop(100, [50, 50], 1.0)]})
    later = _top.Look(12.0, 2.0, {"pid": 1, "loops": [loop(300, [50, 50, 0, 100], 1.5)]})
    text = "\n".join(_top.frame(earlier, later))
    assert "CPU 50.0 %" in text
    assert "turns 100/s" in text
    assert "sent 100.0 KiB/s" in text
    assert re.search(r"timer lag +50\.0 +6\.0 us +8\.0 us +8\.0 us$", text, re.MULTILINE)
    assert re.search(r"25\.0 % +100\.0 +2\.0 ms  one", text)
    assert "idle" not in text
    assert '4  one, nothing, in f, "a.py", line 3' in text
    assert "1  were not looked at" in text
    assert '1.5 s      2  a callback, in g?, "b.py", line 4, lasts' in text
    # A loop that was not there before has figures the next time.
    assert "turns 0/s" in "\n".join(_top.frame(_top.Look(10.0, 1.0, {"pid": 1, "loops": []}), later))
