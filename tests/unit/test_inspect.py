"""``ferrio.inspect`` and ``python -m ferrio dump``: a process says what its loops are at, blocked or not."""

import asyncio
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ferrio
from ferrio import inspect

from .loops import ferrio_only

pytestmark = ferrio_only

LIMIT_S = 15.0


@pytest.fixture
def served() -> Iterator[str]:
    """This process answers."""
    yield inspect.serve()
    inspect.close()


def dump(pid: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferrio", "dump", *options, str(pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


async def leaf(ready: asyncio.Event) -> None:
    """Waits for ever."""
    ready.set()
    await asyncio.get_running_loop().create_future()


async def branch(task: "asyncio.Task[None]") -> None:
    await task


def test_a_process_shows_its_tasks_and_what_they_wait_for(served: str) -> None:
    async def main() -> dict[str, Any]:
        ready = asyncio.Event()
        inner = asyncio.create_task(leaf(ready), name="the leaf")
        outer = asyncio.create_task(branch(inner), name="the branch")
        await ready.wait()
        await asyncio.sleep(0)
        found = await asyncio.to_thread(inspect.ask, os.getpid())
        inner.cancel()
        await asyncio.gather(outer, return_exceptions=True)
        return found

    found = ferrio.run(main())
    assert found["pid"] == os.getpid()
    [loop] = [loop for loop in found["loops"] if loop["is_running"]]
    assert loop["stack"] is None
    assert loop["statistics"]["turns"] > 0
    tasks = {task["name"]: task for task in loop["tasks"]}
    assert tasks["the branch"]["waits_for"] == "task 'the leaf'"
    assert [loop["tasks"][number]["name"] for number in tasks["the branch"]["awaits"]] == ["the leaf"]
    assert tasks["the leaf"]["coroutine"] == "leaf"
    assert tasks["the leaf"]["stack"] == [[__file__, "leaf", leaf.__code__.co_firstlineno + 3]]
    text = inspect.as_text(found)
    assert "\n    the branch: branch waits for task 'the leaf'" in text
    assert "\n      the leaf: leaf waits for" in text


PROGRAM = """
import asyncio, ctypes, os, signal, sys, time
import ferrio.inspect

def block():
    sys.stdout.write("now\\n"); sys.stdout.flush()
    BLOCK

async def main():
    SETUP
    block()

asyncio.run(main())
"""
WITHOUT_THE_INTERPRETER = "os.read(0, 1)"
WITH_THE_INTERPRETER = "ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)"


class Program:
    """A process whose loop is blocked until it is let go."""

    def __init__(self, folder: Path, block: str, setup: str = "pass", **environment: str) -> None:
        self.path = folder / "program.py"
        self.path.write_text(PROGRAM.replace("BLOCK", block).replace("SETUP", setup))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ferrio", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"now\n", self.process.communicate()[1]

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def let_go(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(b"!")
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)


@pytest.mark.parametrize("block", [WITHOUT_THE_INTERPRETER, WITH_THE_INTERPRETER])
def test_a_blocked_process_shows_what_blocks_it(tmp_path: Path, block: str) -> None:
    with Program(tmp_path, block, FERRIO_INSPECT="1") as program:
        text = dump(program.process.pid)
        assert f'File "{program.path}", line 7, in block' in text.stdout, text
        assert ("is kept by a function in C" in text.stdout) == (block == WITH_THE_INTERPRETER)
        found = json.loads(dump(program.process.pid, "--json").stdout)
        assert found["loops"][0]["stack"][-1] == [str(program.path), "block", 7]
        if block == WITHOUT_THE_INTERPRETER:
            [task] = [task for task in found["loops"][0]["tasks"] if task["is_current"]]
            assert task["coroutine"] == "main"
        assert program.let_go() == 0
    # At its end it has taken its socket away.
    gone = dump(program.process.pid)
    assert gone.returncode == 1
    assert "does not answer" in gone.stderr


def test_a_signal_writes_what_the_loops_are_at(tmp_path: Path) -> None:
    setup = "ferrio.inspect.dump_on_signal(signal.SIGUSR2)"
    with Program(tmp_path, WITHOUT_THE_INTERPRETER, setup) as program:
        text = b""
        assert program.process.stderr is not None
        ends = time.monotonic() + LIMIT_S
        while b"tasks: 1" not in text or b"in block" not in text:
            assert time.monotonic() < ends, text
            # One that comes just before the system call is heard of when that ends.
            program.process.send_signal(signal.SIGUSR2)
            ready, _, _ = select.select([program.process.stderr], [], [], 0.2)
            if ready:
                text += os.read(program.process.stderr.fileno(), 4096)
        # It may come while the line before is still being written.
        assert re.search(rf'File "{program.path}", line [67], in block', text.decode())
        assert program.let_go() == 0


def test_the_socket_is_the_users_alone(served: str) -> None:
    found = os.stat(served)
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(served)).st_mode) == 0o700
    assert inspect.serve() == served


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    # It takes itself for another user's, so that this process is the stranger.
    inspector = ferrio._ferrio.Inspector(path, 12345)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(LIMIT_S)
            sock.connect(path)
            assert sock.recv(1) == b""
        assert inspector.take() is None
    finally:
        inspector.close()


#: Everything is imported before it becomes another user, who need not be allowed to read it.
STRANGER = """
import os, socket, sys
from ferrio import inspect
pid, path = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for question in ("picture", "summary"):
    try:
        print(inspect.ask(pid, question))
    except (FileNotFoundError, PermissionError) as error:
        print("refused")
try:
    socket.socket(socket.AF_UNIX).connect(path)
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_finds_no_way_in(served: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", STRANGER, str(os.getpid()), served]
    found = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert found.stdout.split() == ["refused"] * 3, found
    # Its own user's is answered.
    assert inspect.ask(os.getpid())["pid"] == os.getpid()


def test_a_folder_that_others_may_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setattr(inspect, "_folders", lambda: (str(shared),))
    with pytest.raises(PermissionError):
        inspect.serve()
    with pytest.raises(FileNotFoundError):
        inspect.ask(os.getpid())


def test_who_asks_looks_in_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent, preferred, other = (str(tmp_path / name) for name in ("absent/folder", "preferred", "other"))
    monkeypatch.setattr(inspect, "_folders", lambda: (absent, other))
    path = inspect.serve()
    try:
        assert path == os.path.join(other, str(os.getpid()))
        # The user has logged in since.
        monkeypatch.setattr(inspect, "_folders", lambda: (preferred, other))
        assert inspect.ask(os.getpid())["pid"] == os.getpid()
    finally:
        inspect.close()
    assert os.listdir(other) == []


def left_behind(folder: Path, name: str) -> Path:
    """The socket of a process that was killed."""
    path = folder / name
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
    return path


def test_the_socket_of_a_killed_process_is_removed_by_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = tmp_path / "preferred", tmp_path / "other"
    for folder in folders:
        folder.mkdir(mode=0o700)
    monkeypatch.setattr(inspect, "_folders", lambda: tuple(map(str, folders)))
    stale = left_behind(folders[0], str(os.getpid()))
    with socket.socket(socket.AF_UNIX) as sock:
        path = folders[1] / str(os.getpid())
        sock.bind(str(path))
        sock.listen()
        inspect._connect(os.getpid()).close()
        assert path.exists()
    assert not stale.exists()
    with pytest.raises(ConnectionRefusedError):
        inspect.ask(os.getpid())
    assert not path.exists()


def test_the_sockets_of_killed_processes_are_removed_by_who_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "_folders", lambda: (str(tmp_path),))
    # No process has these numbers.
    stale, own = left_behind(tmp_path, "4194305"), left_behind(tmp_path, str(os.getpid()))
    unfinished = left_behind(tmp_path, f".{os.getpid()}")
    (tmp_path / "4194307").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as elsewhere:
        elsewhere.bind(str(tmp_path / "4194306"))
        elsewhere.listen()
        assert inspect.serve() == str(own)
        try:
            assert not stale.exists()
            assert not unfinished.exists()
            assert (tmp_path / "4194306").exists()
            assert inspect.ask(os.getpid())["pid"] == os.getpid()
        finally:
            inspect.close()


def test_a_process_that_sigterm_ends_leaves_nothing_that_hinders(tmp_path: Path) -> None:
    with Program(tmp_path, WITHOUT_THE_INTERPRETER, FERRIO_INSPECT="1") as program:
        pid = program.process.pid
        assert dump(pid).returncode == 0
        program.process.terminate()
        assert program.process.wait(LIMIT_S) == -signal.SIGTERM
        gone = dump(pid)
        assert gone.returncode == 1
        assert "does not answer" in gone.stderr
        assert not any(os.path.exists(os.path.join(folder, str(pid))) for folder in inspect._folders())


def test_a_peer_that_leaves_or_says_nothing_does_no_harm(served: str) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(served)
    assert inspect.ask(os.getpid())["pid"] == os.getpid()


def test_closing_ends_it_and_it_can_begin_anew() -> None:
    path = inspect.serve()
    inspect.close()
    assert not os.path.exists(path)
    with pytest.raises(FileNotFoundError):
        inspect.ask(os.getpid())
    assert inspect.serve() == path
    assert inspect.ask(os.getpid())["pid"] == os.getpid()
    inspect.close()


def test_a_process_that_does_not_serve_is_an_error() -> None:
    found = dump(os.getpid())
    assert found.returncode == 1
    assert str(os.getpid()) in found.stderr
