"""Signal handlers, and the socket pair through which a signal wakes the loop.

The core has a wake-up descriptor of its own for other threads. Signals are written to a socket pair, as in asyncio,
because Python's C-level signal handler can write to a socket. Only loops made in the main thread have one from the
start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable

from .. import _ferrio
from .._base_loop import BaseLoop

__all__ = ["SignalMethods"]


class SignalMethods(BaseLoop):
    """``add_signal_handler``, ``remove_signal_handler``, and asyncio's methods for the socket pair."""

    # The end that the loop watches, and the end that signals are written to.
    _ssock: socket.socket | None = None
    _csock: socket.socket | None = None
    # The process's wake-up descriptor from before the first signal handler, and the identity of its file.
    _previous_wakeup_fd = -1
    _previous_wakeup_file: tuple[int, int] | None = None

    def _make_self_pipe(self) -> None:
        self._internal_fds += 1
        if threading.current_thread() is threading.main_thread():
            # Without a free descriptor, the pair is made when it is needed.
            with contextlib.suppress(OSError):
                self._signal_pair()

    def _close_self_pipe(self) -> None:
        if self._ssock is not None and self._csock is not None:
            self._remove_reader(self._ssock)
            self._set_signal_pair_state(False, False)
            self._ssock.close()
            self._csock.close()
            self._ssock = self._csock = None
        self._internal_fds -= 1

    def _signal_pair(self) -> socket.socket:
        """The end of the pair that signals are written to; makes the pair if there is none."""
        if self._csock is None:
            self._check_closed()
            self._ssock, self._csock = socket.socketpair()
            self._ssock.setblocking(False)
            self._csock.setblocking(False)
            # The socket is registered, not its number: the collector may close the socket before an abandoned loop.
            self._add_reader(self._ssock, self._read_from_self)
            self._set_signal_pair_state(True, False)
        return self._csock

    def _signal_descriptor(self) -> int:
        """The descriptor for signals while the loop runs; -1 if none is to be set or a signal handler has set it."""
        if self._signal_handlers or threading.current_thread() is not threading.main_thread():
            return -1
        try:
            return self._signal_pair().fileno()
        except OSError:
            # No free descriptor. The loop can run; only a signal that arrives just before it sleeps does not wake it.
            return -1

    def _renew_signal_pair(self) -> None:
        """Replace the pair of a forked child by one of its own, so that parent and child do not share signals."""
        if self._ssock is not None and self._csock is not None:
            for own, new in zip((self._ssock, self._csock), socket.socketpair(), strict=True):
                with new:
                    new.setblocking(False)
                    os.dup2(new.fileno(), own.fileno(), inheritable=False)

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Call ``callback(*args)`` on the loop when the process gets signal *sig*. Main thread only.

        Raises:
            TypeError: *callback* is a coroutine or a coroutine function.
            ValueError: There is no such signal.
            RuntimeError: The signal cannot be caught, or this is not the main thread.
        """
        own = self._signal_pair().fileno()
        is_first = not self._signal_handlers and threading.current_thread() is threading.main_thread()
        if is_first:
            # Remembered before anything changes, so that an exit in between does not lose it.
            previous = _ferrio._wakeup_descriptor()
            self._previous_wakeup_file = _file_identity(previous)
            self._previous_wakeup_fd = -1 if previous == own else previous
        try:
            super().add_signal_handler(sig, callback, *args)
        except BaseException:
            if is_first and not self._signal_handlers and _ferrio._wakeup_descriptor() != previous:
                _ferrio._restore_wakeup_descriptor(previous)
            raise
        finally:
            self._set_signal_pair_state(True, bool(self._signal_handlers))

    def remove_signal_handler(self, sig: int) -> bool:
        """Restore the default action of signal *sig*; true if there was a handler.

        Removing the last handler also restores the wake-up descriptor that was set before the first.
        """
        removed: bool = super().remove_signal_handler(sig)
        if not removed or self._signal_handlers:
            return removed
        self._set_signal_pair_state(True, False)
        previous = self._take_previous_wakeup_fd()
        if previous != -1:
            _ferrio._restore_wakeup_descriptor(previous)
        elif self._owns_wakeup_descriptor and self._csock is not None:
            signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)
        return removed

    def _take_previous_wakeup_fd(self) -> int:
        """Forget and return the wake-up descriptor from before the first handler; -1 if there is none to restore."""
        previous, self._previous_wakeup_fd = self._previous_wakeup_fd, -1
        # With another file behind it, its owner has closed it and the number has been used again.
        return previous if _file_identity(previous) == self._previous_wakeup_file else -1


def _file_identity(fd: int) -> tuple[int, int] | None:
    """Device and inode, which tell an open file from one that gets the same descriptor later; ``None`` if closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino
