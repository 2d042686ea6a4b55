"""What must stay as it is while something else is cancelled or closed: other connections, the count of descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

from unit.loops import LIMIT_S


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Decoys:
    """Connected sockets that take every number that has become free.

    Whoever still uses a number that is no longer its own writes into one of them, reads from it, shuts it down or
    closes it; :meth:`check` finds all four.
    """

    COUNT = 4

    def __init__(self) -> None:
        self._pairs = [socket.socketpair() for _ in range(self.COUNT)]
        for pair in self._pairs:
            for end in pair:
                end.setblocking(False)
        self._identities = [[os.fstat(end.fileno()).st_ino for end in pair] for pair in self._pairs]
        # A byte that waits to be read: a stranger's read would take it.
        for one, other in self._pairs:
            one.send(b"1")
            other.send(b"2")

    def check(self) -> None:
        """Every socket is open, is the same, and has got what its own other end sent, no more."""
        for (one, other), identities in zip(self._pairs, self._identities, strict=True):
            assert [os.fstat(end.fileno()).st_ino for end in (one, other)] == identities
            assert (one.recv(100), other.recv(100)) == (b"2", b"1"), "a byte has reached a wrong peer"
            one.send(b"still there")
            assert other.recv(100) == b"still there"

    def close(self) -> None:
        for pair in self._pairs:
            for end in pair:
                end.close()


async def until_open(count: int, *, collect: bool = False) -> None:
    """Wait until so many descriptors are open; fail after the limit. With *collect* the collector may help."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LIMIT_S
    while open_descriptors() != count:
        now = open_descriptors()
        assert loop.time() < end, f"{now - count:+} descriptors after the operation"
        await asyncio.sleep(0.001)
        if collect:
            gc.collect()
