"""What ways to fail are made of: the register ``FAILURES``, and resources that fail."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frameworks.certificates import Certificates

HOST = "127.0.0.1"
#: Too short for anything that waits.
SHORT_S = 0.005


class World(NamedTuple):
    """The loop and the resources that failures use."""

    loop: asyncio.AbstractEventLoop
    #: ``asyncio``, or what stands for it.
    aio: Any
    certificates: Certificates
    folder: Path


Failure = Callable[[World], Coroutine[Any, Any, None]]

FAILURES: dict[str, Failure] = {}


class Failed(Exception):
    """The exception that tests raise on purpose."""


def failure(function: Failure) -> Failure:
    """Add *function* to the table."""
    FAILURES[function.__name__] = function
    return function


def expected() -> contextlib.suppress:
    """Accept every exception by which the failures end."""
    return contextlib.suppress(Exception, asyncio.CancelledError)


def fail(*_args: object) -> Any:
    """Raise."""
    raise Failed


@contextlib.contextmanager
def refused_port(family: int = socket.AF_INET, host: str = HOST) -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket(family) as closed:
        closed.bind((host, 0))
        yield closed.getsockname()[1]


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """A listener that accepts no connections, and its address."""
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        yield listener, listener.getsockname()


@contextlib.contextmanager
def crowded() -> Iterator[tuple[str, int]]:
    """The address of a listener whose backlog is full: connecting to it waits."""
    with socket.socket() as listener, contextlib.ExitStack() as others:
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        yield listener.getsockname()


async def cancelled(awaitable: Awaitable[Any], turns: int = 2) -> None:
    """Run a coroutine and cancel it after *turns* turns."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await ended(task)


async def ended(task: asyncio.Future[Any]) -> None:
    """Wait for a task, and look at its exception without raising it, which would make a cycle of task and frame."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def timed_out(world: World, awaitable: Awaitable[Any]) -> None:
    """Run a coroutine with too short a timeout."""
    with expected():
        await world.aio.wait_for(awaitable, SHORT_S)


async def turns(count: int = 5) -> None:
    """Let the loop turn, so that scheduled callbacks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until_closed(transport: asyncio.BaseTransport) -> None:
    """Close a transport and wait until it has ended."""
    transport.close()
    await turns()


class FailingProtocol(asyncio.Protocol):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        setattr(self, method, fail)


METHODS = ("connection_made", "data_received", "eof_received", "connection_lost")


def reset(sock: socket.socket) -> None:
    """Have the socket send a reset when it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


async def awaiting(make: Callable[[], Awaitable[Any]]) -> None:
    """Wrap any awaitable in a coroutine for a task."""
    await make()
