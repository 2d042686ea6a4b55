"""Connecting to a peer, and resolving its address.

A connection to a numeric address needs neither the resolver nor a Python socket: the core connects a descriptor and
makes a transport of it. Every other connection is made by asyncio's code.
"""

from __future__ import annotations

import _socket
import asyncio
import functools
import socket
import sys
from collections.abc import Callable

from .. import _ferrio
from .._asyncio_internals import base_events, unix_events
from .._base_loop import BaseLoop
from .._transport import SocketTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    # A stand-in for tools that evaluate annotations: importing `typing` would slow every start.
    Any = object

__all__ = ["ConnectingMethods"]

# Until 3.13, create_connection() leaves the socket to its destructor, which warns, when the protocol factory fails.
_CLOSES_AFTER_A_FAILED_FACTORY = sys.version_info >= (3, 14)
_OPTIONS = frozenset(base_events.BaseEventLoop.create_connection.__kwdefaults__ or ())


class ConnectingMethods(BaseLoop):
    """``create_connection`` and its relatives, ``getaddrinfo``."""

    @functools.wraps(base_events.BaseEventLoop.create_connection)
    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        connection = None
        if type(host) is str and type(port) is int and 0 <= port < 65536 and self._connects_natively(options):
            connection = self._connect(host, port)
        if connection is None:
            self._note_passed_socket(options.get("sock"))
            made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_connection(
                protocol_factory,
                host,  # type: ignore[arg-type]
                port,  # type: ignore[arg-type]
                **options,
            )
            return made
        future = self.create_future()
        try:
            if self._schedule_outcome(connection, future):
                await future
            else:
                number = connection.fileno()
                self._add_writer(number, connection, future)
                try:
                    await future
                finally:
                    self._remove_writer(number)
        except BaseException:
            # The exception's traceback holds this frame, and so the connection: it would stay open.
            connection.close()
            raise
        finally:
            # The future holds the exception, whose traceback holds this frame: without `del`, a reference cycle.
            del future
        try:
            protocol = protocol_factory()
        except BaseException:
            if _CLOSES_AFTER_A_FAILED_FACTORY:
                connection.close()
            else:
                connection.abandon()
            raise
        waiter = self.create_future()
        transport = self._begin(SocketTransport, connection, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        finally:
            del waiter
        return transport, protocol

    def _connects_natively(self, options: dict[str, Any]) -> bool:
        """Whether nothing but an address is asked for, and no part of asyncio's way of connecting is replaced."""
        return (
            not self._is_customised()
            and not self._debug
            and base_events.socket is socket
            and _ferrio.SOCKET.connect is _socket.socket.connect
            and (not options or (not any(options.values()) and options.keys() <= _OPTIONS))
        )

    @functools.wraps(base_events.BaseEventLoop.connect_accepted_socket)
    async def connect_accepted_socket(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self._note_passed_socket(sock)
        made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().connect_accepted_socket(
            protocol_factory, sock, **options
        )
        return made

    @functools.wraps(unix_events._UnixSelectorEventLoop.create_unix_connection)
    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self._note_passed_socket(options.get("sock"))
        made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_unix_connection(
            protocol_factory, path, **options
        )
        return made

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolve *host* and *port*; numeric ones at once, others in the default executor.

        Raises:
            socket.gaierror: The name does not resolve.
        """
        self._check_closed()
        if _is_numeric(host, port) and not self._debug:
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        result: list[tuple[Any, ...]] = await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )
        return result


def _is_numeric(host: str | bytes | None, port: str | bytes | int | None) -> bool:
    """True if ``getaddrinfo`` resolves *host* and *port* without a look-up that could block.

    The scope id of an IPv6 address (``fe80::1%eth0``) is looked up locally, so such a host counts as numeric.
    """
    if isinstance(port, bytes):
        port = port.decode("ascii", "replace")
    if isinstance(port, str) and port and not port.isdigit():
        return False
    if host is None:
        return True
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or not host:
        return False
    if ":" in host:
        family, host = socket.AF_INET6, host.partition("%")[0]
    else:
        family = socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
