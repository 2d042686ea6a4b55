"""Every native type, how to make an instance, and the ways in which one comes to hold an object.

``KINDS`` has them by the names under which ``ferrio._ferrio`` exports them, and one that it makes without exporting it.
"""

import asyncio
import contextvars
import os
import socket
import ssl
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import ferrio
import ferrio.asyncio
from ferrio import _ferrio

from ..loops import turn
from ..socket_pairs import fill, tcp_pair

aio: Any = ferrio.asyncio
HAS_THREAD_SAFE_HANDLES = sys.version_info >= (3, 14)
HAS_CALL_GRAPH = sys.version_info >= (3, 14)
HAS_NATIVE_AS_COMPLETED = sys.version_info >= (3, 13)
# Where asyncio's rules are those of older releases its own classes stay.
HAS_NATIVE_SEMAPHORES = issubclass(aio.Semaphore, _ferrio.SemaphoreCore)
TLS_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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


# --- handles ---------------------------------------------------------------------------------------------------------


def nothing(*_args: object) -> None:
    """A callback."""


def handle_kind(schedule: Callable[..., Any], is_used: bool = True) -> Kind:
    """Handles that have run, so that their loop no longer holds them."""

    def way(world: World, *call: Any, **options: Any) -> Any:
        handle = schedule(world, *call, **options)
        turn(world.loop, 2)
        return handle

    def in_context(world: World, token: Any) -> Any:
        variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
        context = contextvars.Context()
        context.run(variable.set, token)
        return way(world, nothing, context=context)

    return Kind(
        make=lambda world: way(world, nothing),
        ways={
            "callback": lambda world, token: way(world, token),
            "argument": lambda world, token: way(world, nothing, token),
            "context": in_context,
        },
        is_used=is_used,
        attributes=frozenset({"_args", "_context"}),
    )


KINDS["Handle"] = handle_kind(lambda world, *call, **options: world.loop.call_soon(*call, **options))
KINDS["ThreadSafeHandle"] = handle_kind(
    lambda world, *call, **options: world.loop.call_soon_threadsafe(*call, **options), HAS_THREAD_SAFE_HANDLES
)
KINDS["TimerHandle"] = handle_kind(lambda world, *call, **options: world.loop.call_later(0, *call, **options))


# --- futures and tasks -----------------------------------------------------------------------------------------------


def future(world: World) -> Any:
    """A pending future."""
    return world.loop.create_future()


def changed(make: Callable[[World], Any], change: Callable[[Any, Any], object]) -> Way:
    """An instance on which an action was performed."""

    def way(world: World, token: Any) -> Any:
        instance = make(world)
        change(instance, token)
        turn(world.loop, 3)
        return instance

    return way


def fail_with(future: Any, token: Any) -> None:
    """An exception that refers to *token* and counts as retrieved."""
    error = ValueError()
    error.token = token  # type: ignore[attr-defined]
    future.set_exception(error)
    future.exception()


def add_callbacks(future: Any, token: Any) -> None:
    """Add two callbacks: the first is stored apart from the others."""
    future.add_done_callback(nothing)
    future.add_done_callback(token)


KINDS["Future"] = Kind(
    make=future,
    ways={
        "dictionary": having(future),
        "result": changed(future, lambda future, token: future.set_result(token)),
        "exception": changed(future, fail_with),
        "callback": changed(future, lambda future, token: future.add_done_callback(token)),
        "second callback": changed(future, add_callbacks),
        "message": changed(future, lambda future, token: future.cancel(token)),
    },
    attributes=frozenset({"_cancel_message"}),
)


def task(world: World, coroutine: Coroutine[Any, Any, Any] | None = None, **options: Any) -> Any:
    """A started task whose completion is reported to nobody."""
    made = world.loop.create_task(wait(world.loop.create_future()) if coroutine is None else coroutine, **options)
    made._log_destroy_pending = False
    turn(world.loop, 2)
    return made


async def wait(awaitable: Any, *_kept: Any) -> Any:
    """A coroutine that waits."""
    return await awaitable


async def come_to(value: Any) -> Any:
    """A coroutine that ends."""
    return value


async def fail(token: Any) -> None:
    """A coroutine that raises."""
    error = ValueError()
    error.token = token  # type: ignore[attr-defined]
    raise error


def failed_task(world: World, token: Any) -> Any:
    """A task whose exception counts as retrieved."""
    made = task(world, fail(token))
    made.exception()
    return made


def task_in_context(world: World, token: Any) -> Any:
    """A task that waits in its own context."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    context = contextvars.Context()
    context.run(variable.set, token)
    return task(world, context=context)


def task_that_cannot_begin(world: World, token: Any) -> Any:
    """A task whose context is already entered when its first step is due."""
    context = contextvars.copy_context()

    async def main() -> Any:
        made = world.loop.create_task(wait(token), context=context)
        made._log_destroy_pending = False
        await asyncio.sleep(0)
        return made

    return context.run(world.loop.run_until_complete, main())


def task_of_a_future(world: World, token: Any) -> Any:
    """A task that waits for a future which refers to *token*."""
    awaited = world.loop.create_future()
    awaited.token = token
    return task(world, wait(awaited))


def task_before_its_step(_world: World, token: Any) -> Any:
    """A task with a step due, made by the last callback of a loop that is now closed and so does not hold it."""
    loop = ferrio.new_event_loop()
    made = []

    def begin() -> None:
        made.append(loop.create_task(wait(token)))
        made[0]._log_destroy_pending = False
        loop.stop()

    loop.call_soon(begin)
    loop.run_forever()
    loop.close()
    return made.pop()


KINDS["Task"] = Kind(
    make=task,
    ways={
        "dictionary": having(task),
        "coroutine": lambda world, token: task(world, wait(world.loop.create_future(), token)),
        "result": lambda world, token: task(world, come_to(token)),
        "exception": failed_task,
        "context": task_in_context,
        "callback": changed(task, lambda task, token: task.add_done_callback(token)),
        "second callback": changed(task, add_callbacks),
        "message": changed(task, lambda task, token: task.cancel(token)),
        "awaited future": task_of_a_future,
        "a step that cannot begin": task_that_cannot_begin,
        "a step that has not begun": task_before_its_step,
    },
    attributes=frozenset({"_cancel_message"}),
)


# --- coroutines, operations, functions -------------------------------------------------------------------------------


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


def buffer_with(token: Any) -> TokenBuffer:
    """A buffer that refers to *token*."""
    buffer = TokenBuffer(1)
    buffer.token = token
    return buffer


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


def records(token: Any = None) -> Any:
    """The records of a TLS object that refers to *token*."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object: Any = TLS_CONTEXT.wrap_bio(incoming, outgoing, server_hostname="localhost")
    ssl_object.token = token
    return _ferrio.tls_records(ssl_object, incoming, outgoing)


KINDS["TlsRecords"] = Kind(
    make=lambda _world: records(),
    ways={"SSLObject": lambda _world, token: records(token)},
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


# --- transports ------------------------------------------------------------------------------------------------------


class Noted(asyncio.Protocol, asyncio.DatagramProtocol):
    """A protocol that refers to a token."""

    def __init__(self, token: Any) -> None:
        self.token = token


def stream(world: World, token: Any = None) -> Any:
    """A paused transport, which its loop does not hold."""
    ours, theirs = tcp_pair()
    with theirs:
        made = world.loop.create_connection(lambda: Noted(token), sock=ours)
        transport, _ = world.loop.run_until_complete(made)
        transport.pause_reading()
        turn(world.loop, 2)
    return transport


def datagrams(world: World, token: Any = None) -> Any:
    """A paused datagram transport, which its loop does not hold."""
    made = world.loop.create_datagram_endpoint(lambda: Noted(token), local_addr=("127.0.0.1", 0))
    transport, _ = world.loop.run_until_complete(made)
    transport.pause_reading()
    turn(world.loop, 2)
    return transport


def details(make: Callable[[World], Any]) -> Way:
    """The dictionary behind ``get_extra_info``."""

    def way(world: World, token: Any) -> Any:
        transport = make(world)
        transport._extra["token"] = token
        return transport

    return way


KINDS["StreamTransport"] = Kind(
    make=stream,
    ways={
        "dictionary": having(stream),
        "protocol": stream,
        "other protocol": changed(stream, lambda transport, token: transport.set_protocol(Noted(token))),
        "details": details(stream),
    },
    attributes=frozenset({"_extra", "_empty_waiter"}),
)
KINDS["DatagramTransport"] = Kind(
    make=datagrams,
    ways={
        "dictionary": having(datagrams),
        "protocol": datagrams,
        "other protocol": changed(datagrams, lambda transport, token: transport.set_protocol(Noted(token))),
        "details": details(datagrams),
    },
)


def connection(world: World) -> Any:
    """A connection, which holds no object."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = world.loop._connect(*listener.getsockname())
        made.close()
    return made


KINDS["Connection"] = Kind(make=connection, ways={})


# --- watching --------------------------------------------------------------------------------------------------------


def inspector(_world: World) -> Any:
    """One that nobody can ask any more."""
    with tempfile.TemporaryDirectory() as folder:
        made = _ferrio.Inspector(f"{folder}/socket", os.getuid())
    made.close()
    return made


KINDS["Inspector"] = Kind(make=inspector, ways={})
KINDS["Watchdog"] = Kind(make=lambda world: _ferrio.Watchdog(world.loop, 1.0), ways={})


# --- loops -----------------------------------------------------------------------------------------------------------


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


# --- primitives ------------------------------------------------------------------------------------------------------


def primitive(make: Callable[[], Any], *attributes: str, is_used: bool = True) -> Kind:
    """A primitive of the namespace under test."""
    return Kind(
        make=lambda _world: make(),
        ways={"dictionary": having(lambda _world: make())},
        attributes=frozenset(attributes),
        is_used=is_used,
    )


KINDS["LockCore"] = primitive(lambda: aio.Lock(), "_loop", "_waiters")
KINDS["EventCore"] = primitive(lambda: aio.Event(), "_loop", "_waiters")
KINDS["SemaphoreCore"] = primitive(
    lambda: aio.Semaphore(), "_loop", "_waiters", "_value", is_used=HAS_NATIVE_SEMAPHORES
)
KINDS["ConditionCore"] = primitive(
    lambda: aio.Condition(),
    *("_loop", "_waiters", "_lock", "locked", "acquire", "release"),
    is_used=HAS_NATIVE_CONDITIONS,
)
KINDS["BarrierCore"] = primitive(lambda: aio.Barrier(2), "_cond", "_parties", "_state", is_used=HAS_NATIVE_CONDITIONS)
KINDS["QueueCore"] = primitive(lambda: aio.Queue(), "_loop", "_getters", "_putters", "_finished", "_maxsize", "_queue")
KINDS["TimeoutCore"] = primitive(
    lambda: aio.Timeout(None), "_state", "_timeout_handler", "_task", "_cancelling", "_when"
)
KINDS["TaskGroupCore"] = primitive(
    lambda: aio.TaskGroup(), "_loop", "_parent_task", "_tasks", "_errors", "_base_error", "_on_completed_fut"
)


# --- streams ---------------------------------------------------------------------------------------------------------


def stream_reader(world: World) -> Any:
    return aio.StreamReader(loop=world.loop)


def stream_protocol(world: World) -> Any:
    return aio.StreamReaderProtocol(None, loop=world.loop)


class ClosedTransport(asyncio.Transport):
    """What a writer that is forgotten does not close."""

    def is_closing(self) -> bool:
        return True


def stream_writer(world: World) -> Any:
    return aio.StreamWriter(ClosedTransport(), None, None, world.loop)


KINDS["StreamReaderCore"] = Kind(
    make=stream_reader,
    ways={"dictionary": having(stream_reader)},
    attributes=frozenset({"_loop", "_limit", "_buffer", "_waiter", "_exception", "_transport"}),
)
KINDS["StreamReaderProtocolCore"] = Kind(
    make=stream_protocol,
    ways={"dictionary": having(stream_protocol)},
    attributes=frozenset({"_loop", "_stream_reader_wr", "_drain_waiters"}),
)
KINDS["StreamWriterCore"] = Kind(
    make=stream_writer,
    ways={"dictionary": having(stream_writer)},
    attributes=frozenset({"_transport", "_protocol", "_reader", "_loop"}),
)


# --- callbacks of functions over awaitables --------------------------------------------------------------------------


def callback_kind(
    name: str, call: Callable[[Any], Any], find: Callable[[Any, Any, Any], Any], is_used: bool = True
) -> Kind:
    """The callback ``name`` that ``call(child)`` leaves; ``find(loop, child, outer)`` is where it may be found.

    Of what it leads to, the child, the outer future and the task that called hold a token.
    """

    def way(world: World, token: Any, holder: str) -> Any:
        async def main() -> Any:
            child = world.loop.create_future()
            outer = call(child)
            if asyncio.iscoroutine(outer):
                outer = world.loop.create_task(outer)
                outer._log_destroy_pending = False
                await asyncio.sleep(0)
            found = next(each for each in find(world.loop, child, outer) if type(each).__name__ == name)
            held = {"child": child, "outer": outer, "caller": asyncio.current_task()}[holder]
            if held is not None:
                held.token = token
            for timer in world.loop._scheduled:
                timer.cancel()
            return found

        return world.loop.run_until_complete(main())

    def leading(holder: str) -> Way:
        return lambda world, token: way(world, token, holder)

    holders = {
        "GatherCallback": ("child", "outer", "caller") if HAS_CALL_GRAPH else ("child", "outer"),
        "WaitCallback": ("outer",),
        "InnerCallback": ("outer",),
        "OuterCallback": ("child",),
        "AwaiterCallback": ("caller",),
        "CompletionCallback": ("child",),
        "TimeoutCallback": ("child",),
    }[name]
    return Kind(
        make=lambda world: way(world, None, holders[0]),
        ways={holder: leading(holder) for holder in holders},
        is_used=is_used,
    )


def callbacks_of(future: Any) -> Iterator[Any]:
    """The callbacks that a future shows."""
    return (callback for callback, _ in future._callbacks or ())


KINDS["GatherCallback"] = callback_kind(
    "GatherCallback", lambda child: aio.gather(child), lambda _, child, __: callbacks_of(child)
)
KINDS["WaitCallback"] = callback_kind(
    "WaitCallback", lambda child: aio.wait([child], timeout=10), lambda _, child, __: callbacks_of(child)
)
KINDS["InnerCallback"] = callback_kind(
    "InnerCallback", lambda child: aio.shield(child), lambda _, child, __: callbacks_of(child)
)
KINDS["OuterCallback"] = callback_kind(
    "OuterCallback", lambda child: aio.shield(child), lambda _, __, outer: callbacks_of(outer)
)
KINDS["AwaiterCallback"] = callback_kind(
    "AwaiterCallback", lambda child: aio.shield(child), lambda _, child, __: callbacks_of(child), HAS_CALL_GRAPH
)
KINDS["CompletionCallback"] = callback_kind(
    "CompletionCallback",
    lambda child: aio.as_completed([child]),
    lambda _, child, __: callbacks_of(child),
    HAS_NATIVE_AS_COMPLETED,
)
KINDS["TimeoutCallback"] = callback_kind(
    "TimeoutCallback",
    lambda child: aio.as_completed([child], timeout=10),
    lambda loop, _, __: (timer._callback for timer in loop._scheduled),
    HAS_NATIVE_AS_COMPLETED,
)


def iterator(world: World, token: Any = None) -> Any:
    """An iterator over a finished future that refers to *token*."""

    async def main() -> Any:
        child = world.loop.create_future()
        child.token = token
        found = aio.as_completed([child])
        child.set_result(None)
        await asyncio.sleep(0)
        return found

    return world.loop.run_until_complete(main())


KINDS["_AsCompletedIterator"] = Kind(make=iterator, ways={"ended child": iterator}, is_used=HAS_NATIVE_AS_COMPLETED)


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
