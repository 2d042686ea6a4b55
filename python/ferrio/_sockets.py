"""``sock_accept`` and ``sock_connect``: what happens once per connection, over the native wait of ``sock_recv``."""

from __future__ import annotations

import asyncio.base_events
import asyncio.unix_events
import errno
import socket
from typing import TYPE_CHECKING, Any

from ._ferrio import is_plain_socket

if TYPE_CHECKING:
    from collections.abc import Awaitable

    class _Base(asyncio.unix_events._UnixSelectorEventLoop):
        # asyncio's own, which its type stubs leave out, and the core's.
        _debug: bool

        async def _ensure_resolved(self, address: Any, **options: Any) -> list[tuple[Any, ...]]: ...
        def _sock_wait_readable(self, sock: socket.socket, /) -> Awaitable[None]: ...
        def _sock_wait_writable(self, sock: socket.socket, /) -> Awaitable[None]: ...
else:
    _Base = object

# The errors that asyncio takes for "not yet": what Python raises as BlockingIOError or InterruptedError.
_NOT_YET = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EALREADY, errno.EINPROGRESS, errno.EINTR})
_RESOLVED_FAMILIES = frozenset(
    {socket.AF_INET, *([socket.AF_INET6] if asyncio.base_events._HAS_IPv6 else [])}  # type: ignore[attr-defined]
)


class ConnectionMethods(_Base):
    """``sock_accept`` and ``sock_connect`` of a loop whose core is native.

    For sockets that ``is_plain_socket`` knows, as the native methods; anything else is left to asyncio's own.
    """

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection: ``(socket, address)``, the socket non-blocking.

        The listener is asked first; the wait begins when there is no connection. Cancelled, it has accepted none.

        Raises:
            OSError: What the listener reports.
            ValueError: The socket blocks (debug mode).
        """
        if not is_plain_socket(sock):
            return await super().sock_accept(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        while True:
            try:
                connection, address = sock.accept()
                connection.setblocking(False)
            except (BlockingIOError, InterruptedError):
                pass
            else:
                return connection, address
            await self._sock_wait_readable(sock)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to *address*, whose name is resolved if need be.

        Raises:
            OSError: The connection was refused or failed.
            socket.gaierror: The name does not resolve.
            ValueError: The socket blocks (debug mode).
        """
        if not is_plain_socket(sock):
            return await super().sock_connect(sock, address)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        if sock.family in _RESOLVED_FAMILIES:
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            _, _, _, _, address = resolved[0]
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            # An interrupted connect() goes on in the background, too.
            pass
        else:
            return None
        while True:
            await self._sock_wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error == 0:
                return None
            if error not in _NOT_YET:
                raise OSError(error, f"Connect call failed {address}")


# The names by which asyncio's errors and warnings call them.
for _method in (ConnectionMethods.sock_accept, ConnectionMethods.sock_connect):
    _method.__qualname__ = f"BaseSelectorEventLoop.{_method.__name__}"
