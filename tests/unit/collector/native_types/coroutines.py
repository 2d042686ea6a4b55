"""Coroutines, socket operations and functions."""

from collections.abc import Callable, Iterator
from typing import Any

import ferrio
import ferrio.asyncio
from ferrio import _ferrio

from .kinds import KINDS, Kind, Way, World, aio, buffer_with, nothing
from .tasks import wait


def lock_with(token: Any) -> Any:
    """A lock that refers to *token*."""
    lock = aio.Lock()
    lock.token = token
    return lock


def started(make: Callable[[Any], Any]) -> Any:
    """The result of ``make(loop)`` after its first step; the loop is closed and no longer holds it."""
    loop = ferrio.new_event_loop()

    async def main() -> Any:
        made = make(loop)
        made.send(None)
        return made

    made = loop.run_until_complete(main())
    loop.close()
    return made


def waiting_for_a_lock(_world: World, token: Any) -> Any:
    """An acquisition whose future refers to *token*."""
    lock = aio.Lock()
    lock._locked = True
    made = started(lambda _loop: lock.acquire())
    lock._waiters[0].token = token
    return made


class Awaitable:
    """An awaitable that is not a future."""

    def __await__(self) -> Iterator[Any]:
        yield


KINDS["Coroutine"] = Kind(
    make=lambda _world: aio.Lock().acquire(),
    ways={
        "object": lambda _world, token: lock_with(token).acquire(),
        "argument": lambda _world, token: aio.Queue().put(token),
        "kept result": lambda _world, token: started(lambda _loop: aio.sleep(10, token)),
        "future": waiting_for_a_lock,
        "iterator": lambda _world, token: started(lambda _loop: aio.wait_for(wait(Awaitable(), token), 10)),
    },
)


def waiting_operation(world: World, token: Any) -> Any:
    """An operation whose future refers to *token*; its loop is closed and no longer holds the future."""
    loop = ferrio.new_event_loop()
    operation = loop.sock_recv(world.sock, 1)
    operation.send(None).token = token  # type: ignore[attr-defined]
    loop.close()
    return operation


KINDS["SocketOperation"] = Kind(
    make=lambda world: world.loop.sock_recv(world.sock, 1),
    ways={
        "size": lambda world, token: world.loop.sock_recv(world.sock, token),
        "buffer": lambda world, token: world.loop.sock_recv_into(world.sock, buffer_with(token)),
        "waiting buffer": lambda world, token: started(
            lambda loop: loop.sock_recv_into(world.sock, buffer_with(token))
        ),
        "data": lambda world, token: world.loop.sock_sendall(world.sock, buffer_with(token)),
        "waiting data": lambda world, token: started(lambda loop: loop.sock_sendall(world.sock, buffer_with(token))),
        "address": lambda world, token: world.loop.sock_sendto(world.sock, b"x", token),
        "future": waiting_operation,
    },
)


def function_of_a_class(class_: Any) -> Way:
    """A function in the body of a class that refers to the token."""

    def way(_world: World, token: Any) -> Any:
        function = class_("Lock.acquire", nothing)
        type("Owner", (), {"method": function, "token": token})
        return function

    return way


for _class in (_ferrio.Function, _ferrio.CoroutineFunction):
    KINDS[_class.__name__] = Kind(
        make=lambda _world, class_=_class: class_("Lock.acquire", nothing),
        ways={
            "wrapped function": lambda _world, token, class_=_class: class_("Lock.acquire", token),
            "class": function_of_a_class(_class),
        },
    )
