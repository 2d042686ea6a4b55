"""Loops."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import ferrio
import ferrio.asyncio

from ...loops import turn
from ...socket_pairs import tcp_pair
from .kinds import KINDS, Kind, Way, World, aio, buffer_with, having, nothing
from .tasks import wait
from .transports import Noted


def forgotten(change: Callable[[Any, World, Any], object]) -> Way:
    """A loop on which an action was performed."""

    def way(world: World, token: Any) -> Any:
        loop = ferrio.new_event_loop()
        change(loop, world, token)
        return loop

    return way


def push_from_a_thread(loop: Any, _world: World, token: Any) -> None:
    """Push a callback onto the inbox after the turn has emptied it."""

    def push() -> None:
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(token,))
        thread.start()
        thread.join()
        loop.stop()

    loop.call_soon(push)
    loop.run_forever()


def leave_a_task(loop: Any, coroutine: Coroutine[Any, Any, Any], turns: int) -> None:
    """Leave a task that is *turns* turns old."""
    task = loop.create_task(coroutine)
    task._log_destroy_pending = False
    turn(loop, turns)


def leave_a_done_task(loop: Any, _world: World, token: Any) -> None:
    """Leave a finished task whose wake-up is due."""
    future = loop.create_future()
    leave_a_task(loop, wait(future, token), 1)
    future.set_result(None)


def leave_a_waiting_operation(loop: Any, world: World, token: Any) -> None:
    """Leave an operation that waits for room in a socket."""

    async def send() -> None:
        await loop.sock_sendall(world.sock, buffer_with(token))

    leave_a_task(loop, send(), 1)


def leave_a_connection(loop: Any, _world: World, token: Any) -> None:
    """Leave an accepted connection that has no transport yet."""

    async def serve() -> Any:
        return await loop.create_server(lambda: Noted(token), "127.0.0.1", 0)

    server = loop.run_until_complete(serve())
    with socket.create_connection(server.sockets[0].getsockname()):
        turn(loop)
    server.close()


def leave_a_transport(loop: Any, _world: World, token: Any) -> None:
    """Leave a transport that reads."""
    ours, theirs = tcp_pair()
    with theirs:
        loop.run_until_complete(loop.create_connection(lambda: Noted(token), sock=ours))


def leave_a_beginning_transport(loop: Any, _world: World, token: Any) -> None:
    """Leave a transport whose protocol does not know of it yet."""
    ours, theirs = tcp_pair()
    with theirs:
        waiter = loop.create_future()
        waiter.token = token
        loop._make_socket_transport(ours, Noted(token), waiter)


def leave_datagrams(loop: Any, _world: World, token: Any) -> None:
    """Leave a datagram transport that reads."""
    made = loop.create_datagram_endpoint(lambda: Noted(token), local_addr=("127.0.0.1", 0))
    loop.run_until_complete(made)


def leave_an_established_connection(loop: Any, _world: World, token: Any) -> None:
    """Leave an established connection whose future is still to be completed."""
    future = loop.create_future()
    future.token = token
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop._schedule_outcome(loop._connect(*listener.getsockname()), future)


class Descriptor:
    """A file object that refers to a token."""

    def __init__(self, sock: socket.socket, token: Any) -> None:
        self.sock, self.token = sock, token

    def fileno(self) -> int:
        return self.sock.fileno()


KINDS["LoopCore"] = Kind(
    make=lambda _world: ferrio.new_event_loop(),
    ways={
        "dictionary": having(lambda _world: ferrio.new_event_loop()),
        "callback": forgotten(lambda loop, _world, token: loop.call_soon(token)),
        "inbox": forgotten(push_from_a_thread),
        "timer": forgotten(lambda loop, _world, token: loop.call_later(10, token)),
        "time of a timer": forgotten(lambda loop, _world, token: loop.call_at(time_with(token), nothing)),
        "reader": forgotten(lambda loop, world, token: loop.add_reader(world.sock, token)),
        "writer": forgotten(lambda loop, world, token: loop.add_writer(world.sock, token)),
        "watched file": forgotten(lambda loop, world, token: loop.add_reader(Descriptor(world.sock, token), nothing)),
        "task factory": forgotten(lambda loop, _world, token: loop.set_task_factory(token)),
        "exception handler": forgotten(lambda loop, _world, token: loop.set_exception_handler(token)),
        "first step": forgotten(lambda loop, _world, token: leave_a_task(loop, wait(token), 0)),
        "step": forgotten(lambda loop, _world, token: leave_a_task(loop, wait(asyncio.sleep(0), token), 1)),
        "wake-up": forgotten(leave_a_done_task),
        "sleep": forgotten(lambda loop, _world, token: leave_a_task(loop, wait(aio.sleep(10), token), 1)),
        "operation": forgotten(leave_a_waiting_operation),
        "accepted connection": forgotten(leave_a_connection),
        "transport": forgotten(leave_a_transport),
        "beginning transport": forgotten(leave_a_beginning_transport),
        "datagram transport": forgotten(leave_datagrams),
        "established connection": forgotten(leave_an_established_connection),
    },
    attributes=frozenset({"_task_factory"}),
)


class Time(float):
    """A number that refers to a token."""

    token: Any = None


def time_with(token: Any) -> Time:
    """A time far in the future that refers to *token*."""
    time = Time(1e9)
    time.token = token
    return time
