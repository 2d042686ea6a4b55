"""``SocketTransport``: what a stream connection does once; bytes and flow control are native."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.futures
import asyncio.selector_events
import asyncio.trsock
import contextvars
import socket
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from . import _ferrio

if TYPE_CHECKING:
    from ._base_loop import BaseLoop

# Server._attach() and _detach() take the transport since 3.13, for close_clients().
_SERVER_KNOWS_CLIENTS = sys.version_info >= (3, 13)


_SOCK: Any = asyncio.trsock.TransportSocket._sock  # type: ignore[attr-defined]


class TransportSocket(asyncio.trsock.TransportSocket):
    """What ``get_extra_info("socket")`` shows: asyncio's wrapper, whose users find sent what was written before.

    What the callback under way has written is sent before the socket is used. Who asks for its number, a duplicate or
    the socket itself can use that at any time: from then on each write is sent at once.
    """

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: SocketTransport) -> None:
        _SOCK.__set__(self, sock)
        # Without a transport there is nothing to be sent: the loop holds one that has something.
        self._transport = weakref.ref(transport)

    def _flushed(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._flush()
        sock: socket.socket = _SOCK.__get__(self)
        return sock

    @property
    def _sock(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._share()
        sock: socket.socket = _SOCK.__get__(self)
        return sock

    def __repr__(self) -> str:
        return repr(asyncio.trsock.TransportSocket(_SOCK.__get__(self)))

    @property
    def family(self) -> int:
        return self._flushed().family

    @property
    def type(self) -> int:
        return self._flushed().type

    @property
    def proto(self) -> int:
        return self._flushed().proto

    def get_inheritable(self) -> bool:
        return self._flushed().get_inheritable()

    def shutdown(self, how: int) -> None:
        self._flushed().shutdown(how)

    def getsockopt(self, *args: Any, **kwargs: Any) -> Any:
        return self._flushed().getsockopt(*args, **kwargs)

    def setsockopt(self, *args: Any, **kwargs: Any) -> None:
        self._flushed().setsockopt(*args, **kwargs)

    def getpeername(self) -> Any:
        return self._flushed().getpeername()

    def getsockname(self) -> Any:
        return self._flushed().getsockname()


class SocketTransport(_ferrio.StreamTransport):
    """A connected TCP or Unix socket. Follows asyncio's ``_SelectorSocketTransport``.

    Of sockets that ``is_plain_socket`` knows: it does not call their methods, but for what happens once.

    Owns *sock* from here on: it is closed after ``connection_lost``.
    """

    _start_tls_compatible = True
    _sendfile_compatible = asyncio.constants._SendfileMode.TRY_NATIVE

    def __init__(
        self,
        loop: BaseLoop,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: contextvars.Context | None = None,
    ) -> None:
        self._open(loop, sock, protocol, server, context)
        # The names are read now, and shown when somebody asks; other sockets and families show them by themselves.
        if extra is not None or type(sock) is not _ferrio.SOCKET or not self._read_names(sock.proto):
            self._extra = self._details(sock, extra)
        if server is not None:
            if _SERVER_KNOWS_CLIENTS:
                server._attach(self)
            else:
                server._attach()
        asyncio.base_events._set_nodelay(sock)  # type: ignore[attr-defined]
        self._begin(waiter)

    def _details(self, sock: socket.socket, extra: dict[str, Any] | None) -> dict[str, Any]:
        details: dict[str, Any] = {} if extra is None else extra
        details["socket"] = TransportSocket(sock, self)
        try:
            details["sockname"] = sock.getsockname()
        except OSError:
            details["sockname"] = None
        if "peername" not in details:
            try:
                details["peername"] = sock.getpeername()
            except OSError:
                details["peername"] = None
        return details

    def __repr__(self) -> str:
        info = [type(self).__name__]
        loop = self._loop
        if self._is_released:
            info.append("closed")
        elif self.is_closing():
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        if loop is not None and not loop.is_closed():
            info.append("read=polling" if self._is_watching else "read=idle")
            state = "polling" if self._is_sending else "idle"
            info.append(f"write=<{state}, bufsize={self._pending_bytes}>")
        return f"<{' '.join(info)}>"

    def _warn_unclosed(self) -> None:
        # Called when nobody refers to the transport any more.
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
        sock, server = self._release()
        if sock is not None:
            sock.close()
        if server is not None:
            if _SERVER_KNOWS_CLIENTS:
                server._detach(self)
            else:
                server._detach()

    def can_write_eof(self) -> bool:
        """True: the sending direction can be ended alone."""
        return True

    @property
    def _closing(self) -> bool:
        return self.is_closing()

    @property
    def _paused(self) -> bool:
        return not self.is_closing() and not self.is_reading()

    # --- called by the native half --------------------------------------------------------------------------

    def _refuse(self, data: object) -> None:
        # asyncio checks the type before it looks at the transport, in the words of its version.
        asyncio.selector_events._SelectorSocketTransport.write(self, data)  # type: ignore[attr-defined]

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

    # --- sendfile -------------------------------------------------------------------------------------------

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        waiter: asyncio.Future[None] = self._loop.create_future()
        if not self.get_write_buffer_size():
            waiter.set_result(None)
        self._empty_waiter = waiter
        return waiter

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None
