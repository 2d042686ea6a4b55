"""Accepting connections on listening sockets."""

from __future__ import annotations

import asyncio.constants
import contextvars
import errno
import socket
from asyncio.log import logger
from collections.abc import Callable

from .. import _ferrio
from .._asyncio_internals import CONNECTIONS_HAVE_CONTEXTS, trsock
from .._base_loop import BaseLoop
from .._transport import SocketTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ServingMethods"]

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The families whose addresses the native half can show.
_NATIVE_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


class ServingMethods(BaseLoop):
    """What ``asyncio.Server`` calls to begin and to stop accepting."""

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
        context: contextvars.Context | None = None,
    ) -> None:
        # The socket is registered, not its number, so that it can still be removed after the program has closed it.
        timeouts = (ssl_handshake_timeout, ssl_shutdown_timeout)
        if not sslcontext and self._accepts_natively(sock):
            self._add_reader(
                sock, self._accept, SocketTransport, protocol_factory, sock, server, backlog, *timeouts, context
            )
        else:
            accepting = (protocol_factory, sock, sslcontext, server, backlog, *timeouts, context)
            self._add_reader(sock, self._accept_connection, *accepting)

    def _stop_serving(self, sock: socket.socket) -> None:
        if sock.fileno() == -1:
            self._remove_reader(sock)
        else:
            super()._stop_serving(sock)

    def _accept_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
        context: contextvars.Context | None = None,
    ) -> None:
        # Differs from asyncio's method only when a resource has run out: see _accept_later().
        for _ in range(backlog + 1):
            try:
                conn, addr = sock.accept()
                if self._debug:
                    logger.debug("%r got a new connection from %r: %r", server, addr, conn)
                conn.setblocking(False)
            except ConnectionAbortedError:
                continue
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_RESOURCES:
                    raise
                timeouts = (ssl_handshake_timeout, ssl_shutdown_timeout)
                self._accept_later(exc, protocol_factory, sock, sslcontext, server, backlog, *timeouts, context)
                return
            options: dict[str, Any] = {}
            if CONNECTIONS_HAVE_CONTEXTS:
                options["context"] = context.copy() if context is not None else None
            accept = self._accept_connection2(
                protocol_factory,
                conn,
                {"peername": addr},
                sslcontext,
                server,
                ssl_handshake_timeout,
                ssl_shutdown_timeout,
                **options,
            )
            self.create_task(accept, **options)

    def _accept_later(self, exhausted: OSError, *accepting: Any) -> None:
        """Report that a resource has run out, and accept again in a second.

        asyncio reports it once for each place in the backlog; one report is enough.
        """
        sock = accepting[1]
        self.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": exhausted,
                "socket": trsock.TransportSocket(sock),
            }
        )
        self._remove_reader(sock.fileno())
        if not CONNECTIONS_HAVE_CONTEXTS:
            accepting = accepting[:-1]
        self.call_later(asyncio.constants.ACCEPT_RETRY_DELAY, self._start_serving, *accepting)

    def _accepts_natively(self, sock: socket.socket) -> bool:
        return not self._is_customised() and _ferrio.is_plain_socket(sock) and sock.family in _NATIVE_FAMILIES
