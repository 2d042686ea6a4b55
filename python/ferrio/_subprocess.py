"""Subprocesses: the transport, and watching for the exit of a child.

A child is watched through a ``pidfd`` on every version of Python: without signal handlers, without a thread for each
child, and from any thread that runs a loop. If the kernel refuses a pidfd (an old kernel, a sandbox, no free
descriptor), asyncio's watcher with a thread for each child is used. A child watcher that the program has set (until
Python 3.13) is used as asyncio uses it.

A pidfd refers to one process, even after its pid has been used again. So the status is that of the child, and no signal
is sent to the pid after the child has been waited for.
"""

from __future__ import annotations

import asyncio.events
import contextlib
import os
import signal
import sys
from asyncio.log import logger

from ._asyncio_internals import unix_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._base_loop import BaseLoop

__all__ = ["Children", "SubprocessTransport", "uses_child_watcher"]

_HAS_WATCHERS = sys.version_info < (3, 14)
# The default watcher of 3.11 uses threads, with other log messages than the pidfd watcher of later releases.
_WATCHES_IN_THREADS = sys.version_info < (3, 12)
# asyncio's return code for a child whose status other code has already collected.
_UNKNOWN_STATUS = 255
_STATUS_IS_UNKNOWN = (
    "Unknown child process pid %d, will report returncode 255"
    if _WATCHES_IN_THREADS
    else "child process pid %d exit status already read:  will report returncode 255"
)


class SubprocessTransport(unix_events._UnixSubprocessTransport):  # type: ignore[misc]
    """A child process and its pipes. Follows asyncio's ``_UnixSubprocessTransport``."""

    def send_signal(self, signal: int) -> None:
        """Send *signal* to the child; does nothing if the child has exited.

        Raises:
            ProcessLookupError: The transport is closed: ``connection_lost`` was called.
            PermissionError: The child runs as another user.
        """
        self._check_proc()
        if self._returncode is None and self._proc.returncode is None:
            # The child has not been waited for, so its pid cannot have been used again.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._proc.pid, signal)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Children:
    """The running children of one loop and their pidfds."""

    def __init__(self, loop: BaseLoop) -> None:
        self._loop = loop
        self._pidfds: set[int] = set()
        self._threads: Any = None

    def watch(self, transport: SubprocessTransport) -> None:
        """Call the loop's ``_child_watcher_callback`` when the child of *transport* has exited."""
        pid = transport.get_pid()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self._watch_in_thread(pid, transport)
            return
        self._loop._add_reader(pidfd, self._exited, pidfd, transport)
        self._pidfds.add(pidfd)

    def _watch_in_thread(self, pid: int, transport: SubprocessTransport) -> None:
        if self._threads is None:
            kind = "ThreadedChildWatcher" if _HAS_WATCHERS else "_ThreadedChildWatcher"
            self._threads = getattr(unix_events, kind)()
        try:
            self._threads.add_child_handler(pid, self._loop._child_watcher_callback, transport)
        except RuntimeError:
            # No thread either. Nothing would notice the child's exit, so it is ended here.
            process = transport._proc
            process.kill()
            self._loop._child_watcher_callback(pid, process.wait(), transport)
            raise

    def _exited(self, pidfd: int, transport: SubprocessTransport) -> None:
        self._loop._remove_reader(pidfd)
        self._pidfds.discard(pidfd)
        pid, process = transport.get_pid(), transport._proc
        try:
            status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        except ChildProcessError:
            # Already waited for: by the Popen object, which then knows the status, or by other code.
            returncode = process.returncode
            if returncode is None:
                returncode = _UNKNOWN_STATUS
                logger.warning(_STATUS_IS_UNKNOWN, pid)
        else:
            assert status is not None
            returncode = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
            # From here on, the pid may be used again.
            process.returncode = returncode
            if _WATCHES_IN_THREADS and self._loop.get_debug():
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
    """Whether asyncio's code, with its child watcher, starts and watches children.

    Until Python 3.13: if the program has set a child watcher. A watcher of asyncio's default class does not count,
    because asyncio makes one by itself. Since 3.14: if asyncio has found that the kernel has no pidfds, in which case
    the loop has asyncio's watcher with threads.
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
    usual = unix_events.ThreadedChildWatcher if _WATCHES_IN_THREADS else unix_events.PidfdChildWatcher
    return watcher is not None and type(watcher) is not usual
