"""``loop._transports``: the transports of a loop by descriptor."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator, MutableMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._ferrio import LoopCore

__all__ = ["Transports", "living"]


def living(table: weakref.WeakValueDictionary[int, Any]) -> list[Any]:
    """What is in *table*, and still there, at this moment, while other threads may change it."""
    found = [reference() for reference in table.valuerefs()]
    return [value for value in found if value is not None]


class Transports(MutableMapping[int, asyncio.BaseTransport]):
    """The stream transports, which the native half keeps, and those that asyncio's code enters here.

    All references are weak.
    """

    def __init__(self, loop: LoopCore) -> None:
        self._loop = weakref.ref(loop)
        self._entered: weakref.WeakValueDictionary[int, asyncio.BaseTransport] = weakref.WeakValueDictionary()
        # Deleted stream transports: asyncio's sendfile deletes the entry while it uses the descriptor itself.
        self._deleted: weakref.WeakValueDictionary[int, asyncio.BaseTransport] = weakref.WeakValueDictionary()
        # By their identity; they are no part of the mapping.
        self.write_pipes: weakref.WeakValueDictionary[int, asyncio.WriteTransport] = weakref.WeakValueDictionary()

    def get(self, fd: int, default: Any = None) -> Any:
        """The transport of a descriptor."""
        transport = self._stream(fd)
        return self._entered.get(fd, default) if transport is None else transport

    def entered(self) -> list[asyncio.BaseTransport]:
        """Those that asyncio's code has entered and that are still there. From any thread."""
        return living(self._entered)

    def _stream(self, fd: int) -> asyncio.BaseTransport | None:
        loop = self._loop()
        transport = None if loop is None else loop._stream_transport(fd)
        if transport is not None and self._deleted and self._deleted.get(fd) is transport:
            return None
        return transport

    def __getitem__(self, fd: int) -> asyncio.BaseTransport:
        transport: asyncio.BaseTransport | None = self.get(fd)
        if transport is None:
            raise KeyError(fd)
        return transport

    def __setitem__(self, fd: int, transport: asyncio.BaseTransport) -> None:
        self._deleted.pop(fd, None)
        if self._stream(fd) is not transport:
            self._entered[fd] = transport

    def __delitem__(self, fd: int) -> None:
        stream = self._stream(fd)
        if stream is None:
            del self._entered[fd]
        else:
            self._deleted[fd] = stream

    def __iter__(self) -> Iterator[int]:
        loop = self._loop()
        streams = [] if loop is None else loop._stream_numbers()
        return iter({fd for fd in streams if self._stream(fd) is not None} | set(self._entered))

    def __len__(self) -> int:
        return sum(1 for _ in self)
