"""The methods for raw sockets: native ones, and over their wait ``sock_accept`` and ``sock_connect``."""

from __future__ import annotations

import errno
import socket

from .._asyncio_internals import base_events, selector_events
from .._base_loop import BaseLoop
from .._copying import native_functions
from .._ferrio import CoroutineFunction, is_plain_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    # A stand-in for tools that evaluate annotations: importing `typing` would slow every start.
    Any = object

__all__ = ["RawSocketMethods"]

_ASYNCIO = selector_events.BaseSelectorEventLoop

# The errors by which asyncio knows that a call must wait: Python raises them as BlockingIOError or InterruptedError.
_MUST_WAIT = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EALREADY, errno.EINPROGRESS, errno.EINTR})
# The families whose addresses asyncio resolves.
_RESOLVED_FAMILIES = frozenset({socket.AF_INET, *([socket.AF_INET6] if base_events._HAS_IPv6 else [])})


class RawSocketMethods(BaseLoop):
    """The methods for raw sockets. They leave sockets that ``is_plain_socket`` refuses to asyncio's."""

    if not TYPE_CHECKING:
        sock_recv = CoroutineFunction("sock_recv", _ASYNCIO.sock_recv)
        sock_recv_into = CoroutineFunction("sock_recv_into", _ASYNCIO.sock_recv_into)
        sock_recvfrom = CoroutineFunction("sock_recvfrom", _ASYNCIO.sock_recvfrom)
        sock_recvfrom_into = CoroutineFunction("sock_recvfrom_into", _ASYNCIO.sock_recvfrom_into)
        sock_sendall = CoroutineFunction("sock_sendall", _ASYNCIO.sock_sendall)
        sock_sendto = CoroutineFunction("sock_sendto", _ASYNCIO.sock_sendto)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection: ``(socket, address)``, the socket non-blocking.

        Waits only when no connection is pending. Once cancelled, it has accepted none.

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
        """Connect to *address*, resolving its host if necessary.

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
            # After an interruption, too, connect() goes on in the background.
            pass
        else:
            return None
        while True:
            await self._sock_wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error == 0:
                return None
            if error not in _MUST_WAIT:
                raise OSError(error, f"Connect call failed {address}")


native_functions.update(
    (name, function) for name, function in vars(RawSocketMethods).items() if isinstance(function, CoroutineFunction)
)
# Errors and warnings show these names, as with asyncio's methods.
for _method in (RawSocketMethods.sock_accept, RawSocketMethods.sock_connect):
    _method.__qualname__ = f"BaseSelectorEventLoop.{_method.__name__}"
