"""Making a transport for a socket or a pipe: native, or asyncio's own where the program has replaced a part."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
from collections.abc import MutableMapping

from .. import _ferrio
from .._asyncio_internals import CONNECTIONS_HAVE_CONTEXTS
from .._base_loop import BaseLoop
from .._datagram import NATIVE_FAMILIES, DatagramSocketTransport
from .._pipe import ReadPipeTransport, WritePipeTransport
from .._tls import RECEIVE_BYTES, protocol_class
from .._transport import SocketTransport
from .._transports import Transports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["WATCHING_METHODS", "TransportMethods"]

#: The methods through which asyncio's transports watch descriptors.
WATCHING_METHODS = frozenset({"_add_reader", "_add_writer"})


class TransportMethods(BaseLoop):
    """``_make_socket_transport`` and its relatives, and the table of transports."""

    # The native half knows the stream transports; asyncio's code enters the others, as into its own dictionary.
    @property
    def _transports(self) -> Transports:
        return self._transport_table

    @_transports.setter
    def _transports(self, _table: MutableMapping[int, asyncio.BaseTransport]) -> None:
        self._transport_table = Transports(self)

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Transport:
        if not self._supports_native_transport(sock):
            options = _transport_options(extra, server, context)
            transport: asyncio.Transport = super()._make_socket_transport(sock, protocol, waiter, **options)
            return transport
        return self._make_native_transport(sock, protocol, waiter, extra, server, context)

    def _make_native_transport(
        self, sock: socket.socket, protocol: asyncio.BaseProtocol, *rest: Any
    ) -> SocketTransport:
        self._ensure_fd_no_transport(sock)
        transport = SocketTransport(self, sock, protocol, *rest)
        if sock in self._passed_sockets:
            self._passed_sockets.discard(sock)
            # The program that passed the socket may still use it.
            transport._share()
        return transport

    def _supports_native_transport(self, sock: socket.socket) -> bool:
        """Whether a socket's transport can be native.

        A socket of a class with its own methods gets asyncio's transport, which calls them. So does every socket of a
        loop on which the program has replaced the methods that watch descriptors.
        """
        return _ferrio.is_plain_socket(sock) and WATCHING_METHODS.isdisjoint(self.__dict__)

    def _note_passed_socket(self, sock: socket.socket | None) -> None:
        if type(sock) is _ferrio.SOCKET:
            self._passed_sockets.add(sock)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Transport:
        transport: asyncio.Transport
        if not self._supports_native_transport(rawsock):
            options.update(_transport_options(extra, server, context))
            transport = super()._make_ssl_transport(rawsock, protocol, sslcontext, waiter, **options)
            return transport
        self._ensure_fd_no_transport(rawsock)
        server_side = options.pop("server_side", False)
        server_hostname = options.pop("server_hostname", None)
        ssl_protocol = protocol_class()(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            **options,
        )
        self._make_native_transport(rawsock, ssl_protocol, None, extra, server, context)
        transport = ssl_protocol._app_transport
        return transport

    @functools.cached_property
    def _tls_buffer(self) -> memoryview:
        """What the kernel has for a TLS connection is received here, and copied at once."""
        return memoryview(bytearray(RECEIVE_BYTES))

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> ReadPipeTransport:
        return ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> WritePipeTransport:
        transport = WritePipeTransport(self, pipe, protocol, waiter, extra)
        self._transport_table.write_pipes[id(transport)] = transport
        return transport

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        if sock.family not in NATIVE_FAMILIES or not self._supports_native_transport(sock):
            transport: asyncio.DatagramTransport = super()._make_datagram_transport(
                sock, protocol, address, waiter, extra
            )
            return transport
        self._ensure_fd_no_transport(sock)
        return DatagramSocketTransport(self, sock, protocol, address, waiter, extra)


def _transport_options(extra: Any, server: Any, context: contextvars.Context | None) -> dict[str, Any]:
    """The keyword arguments of asyncio's ``_make_socket_transport`` in this release."""
    options = {"extra": extra, "server": server}
    if CONNECTIONS_HAVE_CONTEXTS:
        options["context"] = context
    return options
