"""TLS: asyncio's ``SSLProtocol`` with cheaper steps for each message, and no buffer of its own while it is idle.

asyncio's class decides everything that happens once for each connection: states, handshake, shutdown, timeouts, errors.
The program's own ``ssl.SSLContext`` makes the TLS object. What runs for each message is done by one of two engines,
which ``transport.get_extra_info("ferrio_tls_engine")`` names once the handshake is over:

- ``"native"``: received records are read, and what is written is encrypted, by the functions of the OpenSSL that
  Python has loaded, without a Python call in between (``crates/python/src/net/stream/tls``).
- ``"python"``: through ``ssl.SSLObject``, where OpenSSL cannot be reached, and where the program has put functions of
  its own into the way: another ``SSLObject`` or steps of the protocol, a callback for messages, a key log.

The environment variable ``FERRIO_TLS`` forces one: ``python`` everywhere, ``native`` with a ``RuntimeError`` at the end
of a handshake where OpenSSL cannot be reached.

For the latter engine, and for all steps outside an open connection, three steps of asyncio's are written again here,
with the same effects:

- One buffer for each loop takes what the kernel has. asyncio's 256 KiB for each connection are most of an idle one's
  memory.
- Received records are read until nothing is left, which the two sides of the TLS object tell. asyncio reads until an
  exception says so, into 256 KiB that are then given back.
- What is to be sent is looked for before it is read.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import os
import ssl
from asyncio.sslproto import SSLAgainErrors

from . import _ferrio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RECEIVE_BYTES", "SSLProtocol", "adopted", "protocol_class"]

#: The most that one receive takes from the kernel, as in asyncio.
RECEIVE_BYTES = 256 * 1024

#: The most that one record holds (RFC 8446, section 5.1).
RECORD_BYTES = 16 * 1024

#: The engine that is to be used in any case; empty for the better one that can be used.
FORCED = os.environ.get("FERRIO_TLS", "")
if FORCED not in ("", "native", "python"):
    raise ValueError(f"FERRIO_TLS must be 'native' or 'python', not {FORCED!r}")

_ORIGINAL: Any = asyncio.sslproto.SSLProtocol
_ORIGINAL_TRANSPORT: Any = asyncio.sslproto._SSLProtocolTransport


def _functions_of(class_: Any, *names: str) -> list[tuple[Any, str, Any]]:
    return [(class_, name, vars(class_)[name]) for name in names]


def _are_unchanged(functions: list[tuple[Any, str, Any]]) -> bool:
    return all(vars(class_).get(name) is function for class_, name, function in functions)


#: The steps of asyncio's class that are written again here. A program may put its own in their place.
_STEPS = _functions_of(_ORIGINAL, "_do_read__copied", "_do_read__buffered", "_process_outgoing")
#: The functions that the native engine stands for.
_NATIVE_STEPS = [
    *_functions_of(_ORIGINAL, "get_buffer", "buffer_updated", "_do_read", "_do_write", "_write_appdata"),
    *_functions_of(_ORIGINAL, "_control_app_writing", "_control_ssl_reading"),
    *_functions_of(_ORIGINAL, "_get_write_buffer_size", "_get_read_buffer_size"),
    *_functions_of(_ORIGINAL_TRANSPORT, "write", "writelines"),
    *_functions_of(ssl.SSLObject, "read", "write", "pending"),
]


def protocol_class() -> Any:
    """The class of a new connection's TLS protocol: asyncio's own if a program has replaced it or one of the steps."""
    current = asyncio.sslproto.SSLProtocol
    if current is _ORIGINAL and _are_unchanged(_STEPS):
        return SSLProtocol
    return current


def _records(protocol: Any) -> _ferrio.TlsRecords | None:
    """The records of a connection whose handshake is over; ``None`` where Python has to move them."""
    ssl_object = protocol._sslobj
    if FORCED == "python" or type(ssl_object) is not ssl.SSLObject or not _are_unchanged(_NATIVE_STEPS):
        return None
    context: Any = ssl_object.context
    # What these two raise is kept in the TLS object, and raised by its methods.
    if context._msg_callback is not None or context.keylog_filename is not None:
        return None
    records = _ferrio.tls_records(ssl_object, protocol._incoming, protocol._outgoing)
    if records is None and FORCED:
        raise RuntimeError("FERRIO_TLS=native, but the OpenSSL of this interpreter cannot be reached")
    return records


class _SSLProtocolTransport(_ORIGINAL_TRANSPORT):  # type: ignore[misc]
    """asyncio's class, whose ``write`` and ``writelines`` are native (``net/stream/tls/write.rs``)."""

    __module__ = _ORIGINAL_TRANSPORT.__module__

    _write_as_asyncio = _ORIGINAL_TRANSPORT.write
    _writelines_as_asyncio = _ORIGINAL_TRANSPORT.writelines


_ferrio.add_tls_methods(_SSLProtocolTransport)


class SSLProtocol(_ORIGINAL):  # type: ignore[misc]
    """asyncio's class, on one of Ferrio's loops."""

    # Log records name the protocol.
    __module__ = _ORIGINAL.__module__

    #: With the native engine, from the end of the handshake on.
    _records: _ferrio.TlsRecords | None = None

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

    def _on_handshake_complete(self, handshake_exc: BaseException | type[BaseException] | None) -> None:
        if handshake_exc is None:
            try:
                self._records = _records(self)
            except Exception as error:
                handshake_exc = error
            else:
                if self._records is not None and type(self._app_transport) is _ORIGINAL_TRANSPORT:
                    self._app_transport.__class__ = _SSLProtocolTransport
        try:
            super()._on_handshake_complete(handshake_exc)
        finally:
            # Its traceback leads to this frame.
            del handshake_exc

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ferrio_tls_engine" and "ssl_object" in self._extra:
            return "python" if self._records is None else "native"
        return super()._get_extra_info(name, default)

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
                # A slice of a bytearray is a copy, in which asyncio loses what is read.
                rest = memoryview(buffer) if isinstance(buffer, bytearray) else buffer
                count = sslobj.read(wants - offset, rest[offset:])
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
