"""``SocketTransport``: what a stream connection does once, in Python.

Sending, receiving and flow control are native.
"""

from __future__ import annotations

import asyncio
import asyncio.constants
import contextvars
import socket
import warnings
import weakref

from . import _ferrio
from ._asyncio_internals import SERVERS_KNOW_TRANSPORTS, base_events, selector_events, trsock
from ._native_transport import NativeTransport, add_addresses
from ._tls import adopted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._base_loop import BaseLoop

_SOCK = trsock.TransportSocket._sock


class TransportSocket(asyncio.trsock.TransportSocket):
    """The result of ``get_extra_info("socket")``: asyncio's wrapper, which sends pending writes before it is used.

    Writes normally wait for the end of the callback. They are sent before any method here touches the socket, so that
    both happen in the order in which the program asked for them. A program that has taken the descriptor, a duplicate
    or the socket itself can use it at any time: from then on, each write is sent at once.
    """

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: SocketTransport) -> None:
        _SOCK.__set__(self, sock)
        # Weak: the loop holds every transport that has something to send, so a collected one has nothing.
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


class SocketTransport(NativeTransport, _ferrio.StreamTransport):
    """A connected TCP or Unix socket. Follows asyncio's ``_SelectorSocketTransport``.

    The transport owns *sock* and closes it after ``connection_lost``. It sends and receives through the descriptor, not
    through the socket's methods, and so takes only sockets for which ``is_plain_socket`` is true.
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
        # The native half reads the addresses now and builds `_extra` when it is used, but only for the families that it
        # knows, and for sockets of exactly Python's class.
        if extra is not None or type(sock) is not _ferrio.SOCKET or not self._read_names(sock.proto):
            details: dict[str, Any] = {} if extra is None else extra
            details["socket"] = TransportSocket(sock, self)
            add_addresses(details, sock)
            self._extra = details
        if server is not None:
            if SERVERS_KNOW_TRANSPORTS:
                server._attach(self)
            else:
                server._attach()
        base_events._set_nodelay(sock)
        self._begin(waiter)

    def _warn_unclosed(self) -> None:
        # Called by the native finaliser of a transport that was not closed.
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
        sock, server = self._release()
        if sock is not None:
            sock.close()
        if server is not None:
            if SERVERS_KNOW_TRANSPORTS:
                server._detach(self)
            else:
                server._detach()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From the next event on, call *protocol*."""
        super().set_protocol(adopted(protocol))

    def can_write_eof(self) -> bool:
        """True: ``write_eof`` closes the sending direction only."""
        return True

    # --- called by the native half --------------------------------------------------------------------------

    def _raise_type_error(self, data: object) -> None:
        # asyncio's method raises the TypeError of its release: it checks the type before it uses the transport.
        selector_events._SelectorSocketTransport.write(self, data)

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
