"""``DatagramSocketTransport``: what a datagram endpoint does once; datagrams and flow control are native."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.futures
import asyncio.selector_events
import asyncio.trsock
import functools
import socket
import types
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _ferrio

if TYPE_CHECKING:
    from ._base_loop import BaseLoop

_Theirs: Any = asyncio.selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]

#: Families whose addresses the native half knows; endpoints of others are asyncio's own.
NATIVE_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


class Rules(NamedTuple):
    """What differs between releases of asyncio, patch releases among them."""

    #: What each queued datagram counts beyond its own bytes.
    header_bytes: int
    #: Empty datagrams are sent, not left out.
    sends_empty: bool
    #: ``abort()`` leaves ``get_write_buffer_size()`` as it was.
    keeps_count: bool


@functools.cache
def rules() -> Rules:
    """Ask the running interpreter's transport, which never gets as far as a socket here."""

    def ignore(*_args: object, **_kwargs: object) -> None:
        pass

    queueing = _Theirs.__new__(_Theirs)
    vars(queueing).update(_address=None, _conn_lost=0, _buffer=deque([(b"", None)]), _buffer_size=0)
    vars(queueing).update(_maybe_pause_protocol=ignore)
    queueing.sendto(b"1", ("", 0))
    header_bytes = queueing._buffer_size - 1
    waiting = len(queueing._buffer)
    queueing.sendto(b"", ("", 0))
    sends_empty = len(queueing._buffer) > waiting

    loop = types.SimpleNamespace(_remove_reader=ignore, _remove_writer=ignore, call_soon=ignore)
    ending = types.SimpleNamespace(_conn_lost=0, _buffer=deque([(b"1", None)]), _buffer_size=1, _closing=False)
    vars(ending).update(_sock_fd=-1, _loop=loop, _call_soon=ignore, _call_connection_lost=ignore)
    _Theirs._force_close(ending, None)
    return Rules(header_bytes, sends_empty, keeps_count=ending._buffer_size != 0)


class DatagramSocketTransport(_ferrio.DatagramTransport, asyncio.DatagramTransport):
    """A UDP or Unix datagram socket. Follows asyncio's ``_SelectorDatagramTransport``.

    Owns *sock* from here on: it is closed after ``connection_lost``.

    Args:
        address: Where every datagram goes; without, ``sendto`` says it for each.
    """

    def __init__(
        self,
        loop: BaseLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        # Flow control is native: the mixin among the bases stays without state.
        asyncio.DatagramTransport.__init__(self, extra)
        details: dict[str, Any] = self._extra
        details["socket"] = asyncio.trsock.TransportSocket(sock)
        try:
            details["sockname"] = sock.getsockname()
        except OSError:
            details["sockname"] = None
        if "peername" not in details:
            try:
                details["peername"] = sock.getpeername()
            except OSError:
                details["peername"] = None
        self._open(loop, sock, protocol, address, details["peername"], *rules())
        loop._transports[self._sock_fd] = self
        loop.call_soon(protocol.connection_made, self)
        # Only start to receive, and only wake the waiter, when connection_made() has been called.
        loop.call_soon(self._start_reading)
        if waiter is not None:
            set_result = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
            loop.call_soon(set_result, waiter, None)

    def __repr__(self) -> str:
        info = [type(self).__name__]
        loop = self._loop
        if self._sock is None:
            info.append("closed")
        elif self.is_closing():
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        if loop is not None and not loop.is_closed():
            info.append("read=polling" if self._is_watching else "read=idle")
            state = "polling" if self._is_sending else "idle"
            info.append(f"write=<{state}, bufsize={self.get_write_buffer_size()}>")
        return f"<{' '.join(info)}>"

    def __del__(self) -> None:
        if self._sock is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
            sock = self._release()
            if sock is not None:
                sock.close()

    @property
    def _closing(self) -> bool:
        return self.is_closing()

    @property
    def _paused(self) -> bool:
        return not self.is_closing() and not self.is_reading()

    # --- called by the native half --------------------------------------------------------------------------

    def _refuse(self, data: object) -> None:
        # asyncio checks the type before it looks at the transport, in the words of its version.
        _Theirs.sendto(self, data)

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        loop = self._loop
        if isinstance(exc, OSError):
            if loop.get_debug():
                asyncio.selector_events.logger.debug(  # type: ignore[attr-defined]
                    "%r: %s", self, message, exc_info=exc
                )
        else:
            loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self, "protocol": self.get_protocol()}
            )
        self._force_close(exc)

    def _pause_writing(self) -> None:
        self._tell_protocol("pause_writing")

    def _resume_writing(self) -> None:
        self._tell_protocol("resume_writing")

    def _tell_protocol(self, method: str) -> None:
        protocol = self.get_protocol()
        try:
            getattr(protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": exc,
                    "transport": self,
                    "protocol": protocol,
                }
            )

    def _log_debug(self, message: str) -> None:
        asyncio.selector_events.logger.debug(message, self)  # type: ignore[attr-defined]

    def _report_if_slow(self, took: float) -> None:
        loop = self._loop
        if loop is not None and took >= loop.slow_callback_duration:
            asyncio.selector_events.logger.warning(  # type: ignore[attr-defined]
                "Executing %r took %.3f seconds", self, took
            )

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self.get_protocol().connection_lost(exc)  # type: ignore[arg-type]
        finally:
            sock = self._release()
            if sock is not None:
                sock.close()
