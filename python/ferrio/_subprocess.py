"""Subprocesses: asyncio's own transport, and how the loop hears that a child has ended.

A child is watched through a ``pidfd``, on every version of Python: no signal handler, no thread for each child, and
from any thread that runs a loop. Where the kernel gives none (an old one, a sandbox, no descriptor left) asyncio's
watcher with a thread for each child takes its place. A child watcher that the program has set itself (up to Python
3.13) is used as asyncio uses it.

A pidfd names the process and not its number, so the status that is collected is the child's own, and after that no
signal is sent to the number, which may be another process's by then.
"""

from __future__ import annotations

import asyncio.events
import contextlib
import os
import signal
import sys
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from ._asyncio_internals import unix_events

if TYPE_CHECKING:
    from ._base_loop import BaseLoop

__all__ = ["Children", "SubprocessTransport", "uses_child_watcher"]

_HAS_WATCHERS = sys.version_info < (3, 14)
# asyncio's watcher of 3.11 says what it does in other words than the later one.
_SPEAKS_AS_THREADS = sys.version_info < (3, 12)
# What os.waitpid reports of a child that somebody else has waited for is not known; this is what asyncio says then.
_UNKNOWN_STATUS = 255
_STATUS_IS_UNKNOWN = (
    "Unknown child process pid %d, will report returncode 255"
    if _SPEAKS_AS_THREADS
    else "child process pid %d exit status already read:  will report returncode 255"
)


class SubprocessTransport(unix_events._UnixSubprocessTransport):  # type: ignore[misc]
    """A child process and its pipes. Follows asyncio's ``_UnixSubprocessTransport``."""

    def send_signal(self, signal: int) -> None:
        """Send *signal* to the child; nothing happens when it has ended.

        Raises:
            ProcessLookupError: The transport has ended too: ``connection_lost`` was called.
            PermissionError: The child runs as somebody else.
        """
        self._check_proc()
        if self._returncode is None and self._proc.returncode is None:
            # Not waited for, so the number is still the child's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._proc.pid, signal)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Children:
    """The children of one loop that have not ended, each with its pidfd."""

    def __init__(self, loop: BaseLoop) -> None:
        self._loop = loop
        self._pidfds: set[int] = set()
        self._threads: Any = None

    def watch(self, transport: SubprocessTransport) -> None:
        """Call the loop's ``_child_watcher_callback`` when the child of *transport* has ended."""
        pid = transport.get_pid()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self._watch_in_thread(pid, transport)
            return
        self._loop._add_reader(pidfd, self._ended, pidfd, transport)
        self._pidfds.add(pidfd)

    def _watch_in_thread(self, pid: int, transport: SubprocessTransport) -> None:
        if self._threads is None:
            kind = "ThreadedChildWatcher" if _HAS_WATCHERS else "_ThreadedChildWatcher"
            self._threads = getattr(unix_events, kind)()
        try:
            self._threads.add_child_handler(pid, self._loop._child_watcher_callback, transport)
        except RuntimeError:
            # No thread either: a child that nobody would hear of must not stay.
            process = transport._proc
            process.kill()
            self._loop._child_watcher_callback(pid, process.wait(), transport)
            raise

    def _ended(self, pidfd: int, transport: SubprocessTransport) -> None:
        self._loop._remove_reader(pidfd)
        self._pidfds.discard(pidfd)
        pid, process = transport.get_pid(), transport._proc
        try:
            status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        except ChildProcessError:
            # Somebody has waited for it: the Popen object, whose status that is, or a stranger.
            returncode = process.returncode
            if returncode is None:
                returncode = _UNKNOWN_STATUS
                logger.warning(_STATUS_IS_UNKNOWN, pid)
        else:
            assert status is not None
            returncode = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
            # The number is free from here on.
            process.returncode = returncode
            if _SPEAKS_AS_THREADS and self._loop.get_debug():
                logger.debug("process %s exited with returncode %s", pid, returncode)
        finally:
            os.close(pidfd)
        self._loop._child_watcher_callback(pid, returncode, transport)

    def close(self) -> None:
        """Close the pidfds at the end of the loop. Children that are still running are left alone."""
        while self._pidfds:
            pidfd = self._pidfds.pop()
            self._loop._remove_reader(pidfd)
            os.close(pidfd)


def uses_child_watcher(loop: BaseLoop) -> bool:
    """Whether children are to be watched by an object of asyncio's or of the program's.

    Up to Python 3.13 that is a child watcher that the program has set. One of the kind that asyncio makes by itself,
    for whoever asks or starts a subprocess on an asyncio loop, does not count. From 3.14 on it is asyncio's watcher
    with threads, which a loop has where asyncio has found that there are no pidfds.
    """
    events: Any = asyncio.events
    if not _HAS_WATCHERS:
        return not isinstance(loop._watcher, unix_events._PidfdChildWatcher)
    policy = events.get_event_loop_policy()
    getter = getattr(type(policy), "get_child_watcher", None)
    if getter is events.AbstractEventLoopPolicy.get_child_watcher:
        # A policy without child watchers.
        return False
    if getter is not unix_events._UnixDefaultEventLoopPolicy.get_child_watcher:
        return True
    watcher = getattr(policy, "_watcher", None)
    usual = unix_events.ThreadedChildWatcher if _SPEAKS_AS_THREADS else unix_events.PidfdChildWatcher
    return watcher is not None and type(watcher) is not usual
