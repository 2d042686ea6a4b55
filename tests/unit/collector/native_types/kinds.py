"""What a native type is to its tests: how an instance is made, and the ways in which one comes to hold an object."""

import asyncio
import socket
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ferrio
import ferrio.asyncio
from ferrio import _ferrio

from ...loops import turn
from ...socket_pairs import fill

aio: Any = ferrio.asyncio
HAS_THREAD_SAFE_HANDLES = sys.version_info >= (3, 14)
HAS_CALL_GRAPH = sys.version_info >= (3, 14)
HAS_NATIVE_AS_COMPLETED = sys.version_info >= (3, 13)
# Where asyncio's rules are those of older releases its own classes stay.
HAS_NATIVE_SEMAPHORES = issubclass(aio.Semaphore, _ferrio.SemaphoreCore)
HAS_NATIVE_CONDITIONS = issubclass(aio.Condition, _ferrio.ConditionCore)


class World:
    """A loop, and two connected sockets of which the first has a full buffer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Any = loop
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        fill(self.sock)

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


class Token:
    """An object for an instance to hold. It is callable, awaitable (for ever) and records its own deletion."""

    def __init__(self, ended: list[str]) -> None:
        self.ended = ended
        self.held: Any = None

    def __call__(self, *_args: object) -> None:
        pass

    def is_closing(self) -> bool:
        """As a transport, for the finalizer of a writer."""
        return True

    def __del__(self) -> None:
        self.ended.append("ended")


class TokenBuffer(bytearray):
    """A buffer that refers to a token."""

    token: Any = None


Way = Callable[[World, Any], Any]


class Kind(NamedTuple):
    """One native type."""

    #: A new instance, which nobody else holds.
    make: Callable[[World], Any]
    #: Make an instance that leads to an object, by what holds it.
    ways: dict[str, Way]
    #: The attributes through which an instance can be made to hold any object.
    attributes: frozenset[str] = frozenset()
    #: The running release has instances.
    is_used: bool = True


KINDS: dict[str, Kind] = {}


def having(make: Callable[[World], Any], name: str = "note") -> Way:
    """Hold the token in an attribute of the instance's dictionary."""

    def way(world: World, token: Any) -> Any:
        instance = make(world)
        setattr(instance, name, token)
        return instance

    return way


def nothing(*_args: object) -> None:
    """A callback."""


def changed(make: Callable[[World], Any], change: Callable[[Any, Any], object]) -> Way:
    """An instance on which an action was performed."""

    def way(world: World, token: Any) -> Any:
        instance = make(world)
        change(instance, token)
        turn(world.loop, 3)
        return instance

    return way


def buffer_with(token: Any) -> TokenBuffer:
    """A buffer that refers to *token*."""
    buffer = TokenBuffer(1)
    buffer.token = token
    return buffer


def slots_of(class_: type) -> Iterator[tuple[str, Any]]:
    """The slots that a class and its bases declare."""
    for base in class_.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, types.MemberDescriptorType) and isinstance(base, type) and not name.startswith("__"):
                yield f"{base.__name__}.{name}", value


def filled(kind: Kind, slot: Any) -> Way:
    """An instance with a value in one of its slots."""

    def way(world: World, token: Any) -> Any:
        instance = kind.make(world)
        slot.__set__(instance, token)
        return instance

    return way
