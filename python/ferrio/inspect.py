"""Seeing from outside what a process's loops are at: ``python -m ferrio dump PID`` and ``top PID``.

A process answers after ``serve()``, or when it makes a loop while the environment variable ``FERRIO_INSPECT`` is
``1``. It answers the processes of its own user, through a Unix socket with the mode 0600 in a folder of that user's:
``ferrio`` in ``/run/user/UID`` if that can be used, otherwise ``/tmp/ferrio-UID``. The two processes may differ in that
(a service that began before its user logged in), so whoever asks looks in both. The answer comes also while a loop is
blocked, and shows what blocks it.

A socket gets its name when it listens already. One that refuses a connection is therefore what is left of a process
that was killed, and is removed by whoever comes upon it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from types import FrameType
from typing import Any, Literal, TextIO

from ._ferrio import Inspector
from ._fork import open_loops, told_of_loops
from ._picture import as_text, picture, summary

__all__ = ["as_text", "ask", "close", "dump_on_signal", "serve"]

#: Seconds for which a loop may take to say what it is at, before it counts as blocked.
PATIENCE_S = 0.25

#: Seconds for which whoever asks waits for an answer.
ANSWER_S = 10.0

#: Seconds for which loops are measured after somebody has asked for a summary.
VISIT_S = 10.0

#: Seconds for which the end of the answers waits for one that is under way.
LAST_ANSWER_S = 2.0

_lock = threading.Lock()
_serving: tuple[Inspector, str, threading.Thread] | None = None


def serve() -> str:
    """Answer who asks what this process's loops are at, until ``close()`` or the end of the process.

    Returns:
        The path of the socket. A second call has no other effect. A forked child does not answer unless it calls this
        itself.

    Raises:
        PermissionError: The folder is another user's, or open to others.
        OSError: The socket cannot be made.
    """
    global _serving
    with _lock:
        if _serving is None:
            folder = _folder()
            _remove_stale(folder)
            path, unfinished = (os.path.join(folder, f"{prefix}{os.getpid()}") for prefix in ("", "."))
            with contextlib.suppress(FileNotFoundError):
                # Of a process that had the same number and was killed at this point.
                os.unlink(unfinished)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                inspector = Inspector(unfinished, os.geteuid())
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.rename(unfinished, path)
            thread = threading.Thread(target=_answer, args=(inspector,), name="ferrio-inspect", daemon=True)
            thread.start()
            _serving = inspector, path, thread
            told_of_loops.append(inspector.add)
            for loop in open_loops():
                inspector.add(loop)
        return _serving[1]


def close() -> None:
    """Answer nobody any more."""
    global _serving
    with _lock:
        serving, _serving = _serving, None
    if serving is not None:
        inspector, path, thread = serving
        told_of_loops.remove(inspector.add)
        inspector.close()
        _measure(0)
        _remove(path)
        if not sys.is_finalizing():
            thread.join(LAST_ANSWER_S)


def serve_as_told() -> None:
    """Answer if the environment says so; called for each loop that is made."""
    if os.environ.get("FERRIO_INSPECT") == "1":
        serve()


def dump_on_signal(signum: int = signal.SIGUSR2, *, file: TextIO | None = None) -> None:
    """Have the signal *signum* write what this process's loops are at to *file*, the standard error when None.

    It is written by a handler of Python's, so not while a function in C keeps the interpreter.

    Raises:
        ValueError: This is not the main thread.
    """

    def handler(_signum: int, _frame: FrameType | None) -> None:
        print(as_text(picture(0)), file=file or sys.stderr, flush=True)

    signal.signal(signum, handler)


def ask(pid: int, question: Literal["picture", "summary"] = "picture") -> dict[str, Any]:
    """What the loops of the process *pid* are at.

    Args:
        pid: The number of the process.
        question: A ``picture`` has every task. A ``summary`` has their number by coroutine and by what they wait for,
            and what has been measured; the loops of the process are measured for ten seconds from then on.

    Raises:
        ConnectionError, FileNotFoundError: The process does not answer: it does not run, does not serve, or is another
            user's.
        TimeoutError: No answer came.
    """
    with _connect(pid) as sock:
        sock.sendall(f"{question}\n".encode())
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    if not answer:
        raise ConnectionRefusedError(f"process {pid} does not answer this user")
    found: dict[str, Any] = json.loads(answer)
    return found


def _connect(pid: int) -> socket.socket:
    """A connection to the process *pid*, by the first folder in which it listens."""
    failure: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(pid))
    for folder in _folders():
        if not _is_private(folder):
            continue
        path = os.path.join(folder, str(pid))
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectionRefusedError):
                _remove(path)
            failure = error
        else:
            return sock
    raise failure


def _folders() -> tuple[str, ...]:
    """The folders in which sockets of this user may be, the preferred one first."""
    user = os.geteuid()
    return f"/run/user/{user}/ferrio", f"/tmp/ferrio-{user}"


def _folder() -> str:
    """The folder for a socket of this process, made if need be."""
    *preferred, last = _folders()
    for folder in preferred:
        with contextlib.suppress(OSError):
            _make(folder)
            if _is_private(folder) and os.access(folder, os.W_OK, effective_ids=True):
                return folder
    _make(last)
    if not _is_private(last):
        raise PermissionError(f"{last} is not a folder that this user alone may use")
    return last


def _make(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)


def _is_private(folder: str) -> bool:
    """Whether it is there, and this user's alone."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _remove_stale(folder: str) -> None:
    """Remove the sockets of processes that have ended without doing so."""
    for name in os.listdir(folder):
        if not name.isdecimal() or os.path.exists(f"/proc/{name}"):
            continue
        # It may be of another container that shares the folder.
        path = os.path.join(folder, name)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            try:
                sock.connect(path)
            except ConnectionRefusedError:
                _remove(path)
            except OSError:
                pass


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _answer(inspector: Inspector) -> None:
    """What the thread does that has the answers."""
    bell = select.poll()
    bell.register(inspector.fileno(), select.POLLIN)
    visit_ends: float | None = None
    while True:
        bell.poll(None if visit_ends is None else max(0.0, visit_ends - time.monotonic()) * 1000)
        if inspector.has_ended:
            return
        if visit_ends is not None and time.monotonic() >= visit_ends:
            visit_ends = None
            _measure(0)
        asked = inspector.take()
        if asked is None:
            continue
        number, question = asked
        try:
            if question.strip() == "summary":
                visit_ends = time.monotonic() + VISIT_S
                _measure(2)
                answer: dict[str, Any] = summary(PATIENCE_S)
            else:
                answer = picture(PATIENCE_S)
        except Exception as error:
            answer = {"pid": os.getpid(), "error": repr(error), "loops": []}
        inspector.answer(number, json.dumps(answer).encode())


def _measure(level: int) -> None:
    """Have every loop measure as much for whoever looks."""
    for loop in open_loops():
        loop._measure_for("inspect", level)  # type: ignore[attr-defined]


def _after_in_child() -> None:
    """The socket and the threads are the parent's; without this, one that has ended would seem to accept still."""
    global _serving, _lock
    _lock = threading.Lock()
    serving, _serving = _serving, None
    if serving is not None:
        told_of_loops.remove(serving[0].add)
        _measure(0)
        for number in serving[0].descriptors():
            with contextlib.suppress(OSError):
                os.close(number)


os.register_at_fork(after_in_child=_after_in_child)
atexit.register(close)
