"""``loop._selector``: a read-only view of the watched descriptors, for asyncio's transports and other libraries."""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._ferrio import LoopCore


class _Watched(Mapping[int, selectors.SelectorKey]):
    """The descriptors of ``add_reader`` and ``add_writer``, by number."""

    def __init__(self, loop: LoopCore) -> None:
        self._loop = loop

    def __getitem__(self, fd: int) -> selectors.SelectorKey:
        events = self._loop._watched_events(fd)
        if not events:
            raise KeyError(fd)
        return selectors.SelectorKey(fd, fd, events, None)

    def __iter__(self) -> Iterator[int]:
        return iter(self._loop._watched_descriptors())

    def __len__(self) -> int:
        return len(self._loop._watched_descriptors())


class ReactorSelector:
    """The part of the interface of a selector that reads: which events each descriptor is watched for."""

    def __init__(self, loop: LoopCore) -> None:
        self._map = _Watched(loop)

    def get_map(self) -> Mapping[int, selectors.SelectorKey]:
        """The watched descriptors."""
        return self._map

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The events of one descriptor.

        Raises:
            KeyError: It is not watched.
        """
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._map[fd]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return which of the watched descriptors are ready, waiting at most *timeout* seconds.

        The loop itself never calls it, not even a replacement that a program assigns (as test clocks do): a selector
        that is to be called is passed to ``Loop``.
        """
        with selectors.PollSelector() as selector:
            for key in self._map.values():
                selector.register(key.fd, key.events)
            return selector.select(timeout)

    def close(self) -> None:
        """Do nothing: the reactor is closed with its loop."""
