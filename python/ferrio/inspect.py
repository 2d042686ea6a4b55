"""Seeing from outside what a process's loops are at: ``python -m ferrio dump PID``.

A process answers after ``serve()``, or when it makes a loop while the environment variable ``FERRIO_INSPECT`` is
``1``. It answers the processes of its own user, through a Unix socket with the mode 0600 in a folder of that user's:
``ferrio`` in ``/run/user/UID`` if that is there, otherwise ``/tmp/ferrio-UID``. The answer comes also while a loop is
blocked, and shows what blocks it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys
import threading
from types import FrameType
from typing import Any, TextIO

from ._ferrio import Inspector
from ._fork import open_loops, told_of_loops
from ._picture import as_text, picture

__all__ = ["as_text", "ask", "close", "dump_on_signal", "serve"]

#: Seconds for which a loop may take to say what it is at, before it counts as blocked.
PATIENCE_S = 0.25

#: Seconds for which whoever asks waits for an answer.
ANSWER_S = 10.0

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
            path = os.path.join(_folder(), str(os.getpid()))
            with contextlib.suppress(FileNotFoundError):
                # Of a process that had the same number and has not ended by itself.
                os.unlink(path)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                inspector = Inspector(path, os.geteuid())
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
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
        with contextlib.suppress(OSError):
            os.unlink(path)
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


def ask(pid: int) -> dict[str, Any]:
    """What the loops of the process *pid* are at.

    Raises:
        ConnectionError, FileNotFoundError: The process does not answer: it does not run, does not serve, or is another
            user's.
        TimeoutError: No answer came.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_S)
        sock.connect(os.path.join(_folder(), str(pid)))
        sock.sendall(b"picture\n")
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    if not answer:
        raise ConnectionRefusedError(f"process {pid} does not answer this user")
    found: dict[str, Any] = json.loads(answer)
    return found


def _folder() -> str:
    """The folder of the sockets, made if need be."""
    user = os.geteuid()
    run = f"/run/user/{user}"
    folder = os.path.join(run, "ferrio") if os.path.isdir(run) and os.access(run, os.W_OK) else f"/tmp/ferrio-{user}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder that this user alone may use")
    return folder


def _answer(inspector: Inspector) -> None:
    """What the thread does that has the answers."""
    bell = select.poll()
    bell.register(inspector.fileno(), select.POLLIN)
    while True:
        bell.poll()
        if inspector.has_ended:
            return
        asked = inspector.take()
        if asked is None:
            continue
        number, _question = asked
        try:
            answer: dict[str, Any] = picture(PATIENCE_S)
        except Exception as error:
            answer = {"pid": os.getpid(), "error": repr(error), "loops": []}
        inspector.answer(number, json.dumps(answer).encode())


def _after_in_child() -> None:
    """The socket and the threads are the parent's; without this, one that has ended would seem to accept still."""
    global _serving, _lock
    _lock = threading.Lock()
    serving, _serving = _serving, None
    if serving is not None:
        told_of_loops.remove(serving[0].add)
        for number in serving[0].descriptors():
            with contextlib.suppress(OSError):
                os.close(number)


os.register_at_fork(after_in_child=_after_in_child)
atexit.register(close)
