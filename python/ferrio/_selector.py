"""The reactor as a ``selectors`` object, for code that asks a loop which descriptors it watches."""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._ferrio import LoopCore


class _Watched(Mapping[int, selectors.SelectorKey]):
    """Descriptors of ``add_reader`` and ``add_writer``, by number."""

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
    """What asyncio's own transports ask of ``loop._selector``: which events a descriptor is watched for."""

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
        """Which of the watched descriptors are ready, after at most *timeout* seconds; the loop itself never asks.

        Who puts something in this method's place (a clock for tests does) is not asked by the loop either: a loop that
        asks is one that was given a selector.
        """
        with selectors.PollSelector() as asked:
            for key in self._map.values():
                asked.register(key.fd, key.events)
            return asked.select(timeout)

    def close(self) -> None:
        """Nothing: the reactor closes with its loop."""
