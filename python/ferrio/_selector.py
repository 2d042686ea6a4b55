"""``loop._selector``: a view of the watched descriptors and of the wait, for asyncio's transports and other libraries.

A program may replace its ``select``, as clocks for tests do: the loop calls the replacement in each turn from then on.
"""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._map = _Watched(loop)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "select":
            self._loop._look_for_clock()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == "select":
            self._loop._look_for_clock()

    def _is_asked(self) -> bool:
        """Whether a turn has to call ``select``, because it does something of its own."""
        return "select" in self.__dict__ or type(self).select is not _SELECT

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
        """Wait at most *timeout* seconds for events.

        Called by a turn of the loop, or by what a program has put in its place, it is the wait: whatever it finds,
        calls of other threads included, runs in this turn, and an item is returned for each. Called elsewhere, it
        returns which of the watched descriptors are ready, and changes nothing.
        """
        found = self._loop._wait(timeout)
        if found is not None:
            return [_NEWS] * found
        with selectors.PollSelector() as selector:
            for key in self._map.values():
                selector.register(key.fd, key.events)
            return selector.select(timeout)

    def close(self) -> None:
        """Do nothing: the reactor is closed with its loop."""


_SELECT = ReactorSelector.select
# What the wait has found is in the loop already.
_NEWS = (selectors.SelectorKey(None, -1, selectors.EVENT_READ, None), selectors.EVENT_READ)  # type: ignore[arg-type]
