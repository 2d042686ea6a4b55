"""``DatagramSocketTransport``: what a datagram endpoint does once, in Python.

Sending, receiving and flow control are native.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import types
import warnings
from collections import deque

from . import _ferrio
from ._asyncio_internals import futures, selector_events, trsock
from ._native_transport import NativeTransport, add_addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._base_loop import BaseLoop

_AsyncioTransport = selector_events._SelectorDatagramTransport

#: The families whose addresses the native half can parse. Endpoints of other families are asyncio's own.
NATIVE_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})


@functools.cache
def _asyncio_rules() -> tuple[int, bool, bool]:
    """How asyncio's datagram transport behaves where its releases differ, patch releases included.

    Found by trying the running interpreter's transport, without a socket.

    Returns:
        The bytes that each queued datagram adds to the buffer size beyond its own; whether empty datagrams are sent;
        whether ``get_write_buffer_size()`` stays the same after ``abort()``.
    """

    def ignore(*_args: object, **_kwargs: object) -> None:
        pass

    queueing = _AsyncioTransport.__new__(_AsyncioTransport)
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
    _AsyncioTransport._force_close(ending, None)
    keeps_count = ending._buffer_size != 0
    return header_bytes, sends_empty, keeps_count


class DatagramSocketTransport(NativeTransport, _ferrio.DatagramTransport, asyncio.DatagramTransport):
    """A UDP or Unix datagram socket. Follows asyncio's ``_SelectorDatagramTransport``.

    The transport owns *sock* and closes it after ``connection_lost``.

    Args:
        address: The destination of every datagram. None: ``sendto`` names it for each.
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
        # Sets `_extra` only: asyncio's flow control, which is among the bases, is not used and not initialised.
        asyncio.DatagramTransport.__init__(self, extra)
        details: dict[str, Any] = self._extra
        details["socket"] = trsock.TransportSocket(sock)
        add_addresses(details, sock)
        self._open(loop, sock, protocol, address, details["peername"], *_asyncio_rules())
        loop._transports[self._sock_fd] = self
        loop.call_soon(protocol.connection_made, self)
        # Receiving starts, and the waiter is woken, only after connection_made().
        loop.call_soon(self._start_reading)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None)

    def __del__(self) -> None:
        if self._sock is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
            sock = self._release()
            if sock is not None:
                sock.close()

    @property
    def _is_released(self) -> bool:
        return self._sock is None

    @property
    def _pending_bytes(self) -> int:
        return self.get_write_buffer_size()

    # --- called by the native half --------------------------------------------------------------------------

    def _raise_type_error(self, data: object) -> None:
        # asyncio's method raises the TypeError of its release: it checks the type before it uses the transport.
        _AsyncioTransport.sendto(self, data)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self.get_protocol().connection_lost(exc)  # type: ignore[arg-type]
        finally:
            sock = self._release()
            if sock is not None:
                sock.close()
