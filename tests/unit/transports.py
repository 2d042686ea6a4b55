"""Helpers for tests of every transport: a recording protocol, and the socket at the other end."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from .loops import run_until


class Notes(asyncio.BaseProtocol):
    """A protocol that records its calls in order."""

    #: What ``names`` leaves out: the event of something received.
    receiving: ClassVar[str]

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.transport: Any = None

    @property
    def names(self) -> list[str]:
        """The recorded events without what was received."""
        return [name for name, *_ in self.events if name != self.receiving]

    @property
    def is_lost(self) -> bool:
        return "lost" in self.names

    @property
    def lost_with(self) -> BaseException | None:
        """The argument of ``connection_lost``, which must have been called once."""
        (exc,) = [details[0] for name, *details in self.events if name == "lost"]
        return exc  # type: ignore[no-any-return]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append(("made",))

    def pause_writing(self) -> None:
        self.events.append(("pause",))

    def resume_writing(self) -> None:
        self.events.append(("resume",))

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(("lost", exc))


P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclass
class Ends(Generic[P]):
    """A transport, its protocol, and the socket at the other end."""

    loop: asyncio.AbstractEventLoop
    transport: Any
    protocol: P
    peer: socket.socket

    def end(self) -> None:
        """Close both ends and wait until the transport has ended."""
        self.peer.close()
        self.transport.abort()
        run_until(self.loop, lambda: self.transport._sock is None)
