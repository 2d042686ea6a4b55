"""``NativeTransport``: the Python methods that the stream and the datagram transport share.

The native half of a transport moves bytes and keeps the state; it calls these methods by name for what happens seldom.
They do what asyncio's ``_SelectorTransport`` and ``_FlowControlMixin`` do.
"""

from __future__ import annotations

import asyncio
import socket

from ._asyncio_internals import selector_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NativeTransport", "add_addresses"]


class NativeTransport:
    """A base beside a native half, without state of its own."""

    __slots__ = ()

    if TYPE_CHECKING:
        # The native half's.
        @property
        def _is_released(self) -> bool: ...
        @property
        def _is_sending(self) -> bool: ...
        @property
        def _is_watching(self) -> bool: ...
        @property
        def _loop(self) -> Any: ...
        @property
        def _pending_bytes(self) -> int: ...
        @property
        def _sock_fd(self) -> int: ...
        def _force_close(self, exc: BaseException | None, /) -> None: ...
        def get_protocol(self) -> asyncio.BaseProtocol: ...
        def is_closing(self) -> bool: ...
        def is_reading(self) -> bool: ...

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

    @property
    def _closing(self) -> bool:
        return self.is_closing()

    @property
    def _paused(self) -> bool:
        return not self.is_closing() and not self.is_reading()

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                selector_events.logger.debug("%r: %s", self, message, exc_info=exc)
        else:
            self._report(message, exc, self.get_protocol())
        self._force_close(exc)

    def _pause_writing(self) -> None:
        self._call_protocol("pause_writing")

    def _resume_writing(self) -> None:
        self._call_protocol("resume_writing")

    def _call_protocol(self, method: str) -> None:
        protocol = self.get_protocol()
        try:
            getattr(protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(f"protocol.{method}() failed", exc, protocol)

    def _report(self, message: str, exc: BaseException, protocol: asyncio.BaseProtocol) -> None:
        context = {"message": message, "exception": exc, "transport": self, "protocol": protocol}
        self._loop.call_exception_handler(context)

    def _log_debug(self, message: str) -> None:
        selector_events.logger.debug(message, self)

    def _report_if_slow(self, took: float) -> None:
        loop = self._loop
        if loop is not None and took >= loop.slow_callback_duration:
            selector_events.logger.warning("Executing %r took %.3f seconds", self, took)


def add_addresses(details: dict[str, Any], sock: socket.socket) -> None:
    """Add what ``get_extra_info`` shows as ``sockname`` and, unless it is known already, as ``peername``."""
    try:
        details["sockname"] = sock.getsockname()
    except OSError:
        details["sockname"] = None
    if "peername" not in details:
        try:
            details["peername"] = sock.getpeername()
        except OSError:
            details["peername"] = None
