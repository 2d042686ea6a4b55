"""TLS: asyncio's ``SSLProtocol`` with cheaper receives, and no buffer of its own while it is idle.

asyncio's class decides everything: states, handshake, shutdown, timeouts, errors. Three steps that run for each
message are written again here, with the same effects:

- One buffer for each loop takes what the kernel has. asyncio's 256 KiB for each connection are most of an idle one's
  memory.
- Received records are read until nothing is left, which the two sides of the TLS object tell. asyncio reads until an
  exception says so, into 256 KiB that are then given back.
- What is to be sent is looked for before it is read.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
from asyncio.sslproto import SSLAgainErrors
from typing import Any

from . import _ferrio

__all__ = ["RECEIVE_BYTES", "SSLProtocol", "adopted", "protocol_class"]

#: The most that one receive takes from the kernel, as in asyncio.
RECEIVE_BYTES = 256 * 1024

#: The most that one record holds (RFC 8446, section 5.1).
RECORD_BYTES = 16 * 1024

_ORIGINAL: Any = asyncio.sslproto.SSLProtocol
#: The steps of asyncio's class that are written again here. A program may put its own in their place.
_STEPS = {name: vars(_ORIGINAL)[name] for name in ("_do_read__copied", "_do_read__buffered", "_process_outgoing")}


def protocol_class() -> Any:
    """The class of a new connection's TLS protocol: asyncio's own if a program has replaced it or one of the steps."""
    current = asyncio.sslproto.SSLProtocol
    if current is _ORIGINAL and all(vars(current).get(name) is step for name, step in _STEPS.items()):
        return SSLProtocol
    return current


class SSLProtocol(_ORIGINAL):  # type: ignore[misc]
    """asyncio's class, on one of Ferrio's loops."""

    # Log records name the protocol.
    __module__ = _ORIGINAL.__module__

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # asyncio's `__init__` makes a buffer of this size.
        self.max_size = 0
        super().__init__(*arguments, **options)
        del self.max_size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, _ferrio.StreamTransport):
            # It fills a buffer and reports that within one step, and `buffer_updated` copies what is in it before
            # anything else runs. Other transports may keep a buffer: `get_buffer` makes one for them.
            self._ssl_buffer_view = self._loop._tls_buffer
            self._ssl_buffer = self._ssl_buffer_view.obj
        super().connection_made(transport)

    def _do_read__copied(self) -> None:
        incoming, sslobj = self._incoming, self._sslobj
        chunk = None
        chunks: list[bytes] = []
        try:
            while True:
                chunk = sslobj.read(RECORD_BYTES)
                if not chunk:
                    break
                chunks.append(chunk)
                if not (incoming.pending or sslobj.pending()):
                    break
        except SSLAgainErrors:
            pass
        if chunks:
            self._app_protocol.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if chunk is not None and not chunk:
            # close_notify
            self._call_eof_received()
            self._start_shutdown()

    def _do_read__buffered(self) -> None:
        incoming, sslobj = self._incoming, self._sslobj
        count, offset = 1, 0
        buffer = self._app_protocol_get_buffer(self._get_read_buffer_size())
        wants = len(buffer)
        try:
            count = offset = sslobj.read(wants, buffer)
            while count > 0:
                if offset >= wants:
                    self._loop.call_soon(self._do_read)
                    break
                if not (incoming.pending or sslobj.pending()):
                    break
                count = sslobj.read(wants - offset, buffer[offset:])
                offset += count
        except SSLAgainErrors:
            pass
        if offset > 0:
            self._app_protocol_buffer_updated(offset)
        if not count:
            # close_notify
            self._call_eof_received()
            self._start_shutdown()

    def _process_outgoing(self) -> None:
        if not self._ssl_writing_paused and self._outgoing.pending:
            self._transport.write(self._outgoing.read())
        self._control_app_writing()


def adopted(protocol: Any) -> Any:
    """A protocol for a connection that exists. One of asyncio's own class, as ``start_tls`` makes it, becomes ours."""
    if type(protocol) is _ORIGINAL:
        protocol.__class__ = protocol_class()
    return protocol
