"""Ways to fail: coroutines that each come to an error, or are cancelled, and leave nothing open.

``FAILURES`` has them by name. Each takes a :class:`World` and may run any number of times.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frameworks.certificates import Certificates

from ..socket_pairs import fill, tcp_pair, without_blocking

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


# --- connecting ------------------------------------------------------------------------------------------------------


@failure
async def connection_refused(world: World) -> None:
    with refused_port() as port, expected():
        await asyncio.open_connection(HOST, port)


@failure
async def connection_refused_over_ipv6(world: World) -> None:
    with expected(), refused_port(socket.AF_INET6, "::1") as port:
        await world.loop.create_connection(asyncio.Protocol, "::1", port)


@failure
async def connection_refused_by_name(world: World) -> None:
    with refused_port() as port, expected():
        await world.loop.create_connection(asyncio.Protocol, "localhost", port)


@failure
async def connection_refused_by_every_address(world: World) -> None:
    async def two(host: Any, port: Any, **options: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        return [(*kind, (HOST, port)), (*kind, ("127.0.0.2", port))]

    original = world.loop.getaddrinfo
    with refused_port() as port:
        world.loop.getaddrinfo = two  # type: ignore[method-assign]
        try:
            for options in ({}, {"happy_eyeballs_delay": SHORT_S}, {"happy_eyeballs_delay": SHORT_S, "interleave": 1}):
                with expected():
                    await world.loop.create_connection(asyncio.Protocol, "example", port, **options)
            if sys.version_info >= (3, 12):
                with expected():
                    await world.loop.create_connection(asyncio.Protocol, "example", port, all_errors=True)
        finally:
            world.loop.getaddrinfo = original  # type: ignore[method-assign]
            del world.loop.__dict__["getaddrinfo"]


@failure
async def connection_from_an_address_of_others(world: World) -> None:
    with listening() as (_, address), expected():
        await world.loop.create_connection(asyncio.Protocol, *address, local_addr=("192.0.2.1", 0))


@failure
async def connection_to_an_unreachable_address(world: World) -> None:
    with expected():
        async with asyncio.timeout(SHORT_S):
            await world.loop.create_connection(asyncio.Protocol, "255.255.255.255", 9)


@failure
async def name_that_does_not_resolve(world: World) -> None:
    with expected():
        await world.loop.create_connection(asyncio.Protocol, "nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.getaddrinfo("nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.create_server(asyncio.Protocol, "nobody", 9, flags=socket.AI_NUMERICHOST)
    with expected():
        await world.loop.create_connection(asyncio.Protocol, HOST, "no such service")  # type: ignore[call-overload]


@failure
async def resolving_is_cancelled(world: World) -> None:
    await cancelled(world.loop.create_connection(asyncio.Protocol, "localhost", 9))
    await asyncio.sleep(SHORT_S)


@failure
async def connection_cancelled_in_the_middle(world: World) -> None:
    for count in range(5):
        with crowded() as address:
            await cancelled(world.loop.create_connection(asyncio.Protocol, *address), count)


@failure
async def connection_timed_out(world: World) -> None:
    with crowded() as address:
        await timed_out(world, asyncio.open_connection(*address))
        await timed_out(world, world.loop.create_connection(asyncio.Protocol, *address, flags=socket.AI_NUMERICHOST))


@failure
async def connection_cancelled_when_it_is_made(world: World) -> None:
    for count in range(8):
        with listening() as (_, address):
            await cancelled(world.loop.create_connection(asyncio.Protocol, *address), count)
            await turns()


@failure
async def connection_without_a_protocol(world: World) -> None:
    with listening() as (_, address):
        with expected():
            await world.loop.create_connection(fail, *address)
        with expected():
            await world.loop.create_connection(fail, *address, flags=socket.AI_NUMERICHOST)


class FailingProtocol(asyncio.Protocol):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        setattr(self, method, fail)


METHODS = ("connection_made", "data_received", "eof_received", "connection_lost")


@failure
async def protocols_that_fail(world: World) -> None:
    for method in METHODS:
        with without_blocking(tcp_pair()) as (ours, theirs):
            transport, _ = await world.loop.create_connection(lambda method=method: FailingProtocol(method), sock=ours)
            theirs.send(b"x")
            await turns()
            theirs.shutdown(socket.SHUT_WR)
            await turns()
            await until_closed(transport)


@failure
async def sockets_of_the_wrong_kind(world: World) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, expected():
        await world.loop.create_connection(asyncio.Protocol, sock=datagrams)
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, expected():
        await world.loop.create_server(asyncio.Protocol, sock=datagrams)
    for connect in (world.loop.create_connection, world.loop.create_datagram_endpoint):
        with socket.socket() as ended:
            ended.close()
            with expected():
                await connect(asyncio.Protocol, sock=ended)  # type: ignore[arg-type]
    for options in (
        {},
        {"host": HOST},
        {"host": HOST, "port": 9, "sock": 1},
        {"host": HOST, "port": 9, "interleave": "x"},
    ):
        with expected():
            await world.loop.create_connection(asyncio.Protocol, **options)  # type: ignore[call-overload]


# --- serving ---------------------------------------------------------------------------------------------------------


@failure
async def servers_without_an_address(world: World) -> None:
    with listening() as (_, address), expected():
        await world.loop.create_server(asyncio.Protocol, *address)
    with expected():
        await world.loop.create_server(asyncio.Protocol, "192.0.2.1", 0)


@failure
async def servers_whose_protocols_fail(world: World) -> None:
    for make in (fail, *(lambda method=method: FailingProtocol(method) for method in METHODS)):
        server = await world.loop.create_server(make, HOST, 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.send(b"x")
            await turns()
            # It may be over.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            await turns()
        await turns()
        server.close()
        await turns()


@failure
async def a_server_that_is_cancelled(world: World) -> None:
    async def serve() -> None:
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0) as server:
            await server.serve_forever()

    for count in range(4):
        await cancelled(serve(), count)


@failure
async def a_handler_that_fails(world: World) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(100)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    writer.close()
    await turns()
    with expected():
        await reader.readexactly(1)
    with expected():
        await writer.wait_closed()
    await turns()
    server.close()
    await turns()


# --- Unix sockets ----------------------------------------------------------------------------------------------------


@failure
async def unix_sockets_that_are_not_there(world: World) -> None:
    with expected():
        await world.loop.create_unix_connection(asyncio.Protocol, str(world.folder / "nobody"))
    with expected():
        await asyncio.open_unix_connection(str(world.folder / "nobody"))
    stale = str(world.folder / "stale")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(stale)
    with expected():
        await world.loop.create_unix_connection(asyncio.Protocol, stale)
    os.unlink(stale)
    with expected():
        await world.loop.create_unix_server(asyncio.Protocol, str(world.folder / "nobody" / "inside"))
    with expected():
        await world.loop.create_unix_server(asyncio.Protocol, "/" + "x" * 200)
    with socket.socket() as wrong, expected():
        await world.loop.create_unix_connection(asyncio.Protocol, sock=wrong)


# --- datagrams -------------------------------------------------------------------------------------------------------


class FailingDatagrams(asyncio.DatagramProtocol):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        setattr(self, method, fail)


@failure
async def datagram_endpoints_without_an_address(world: World) -> None:
    for options in ({"local_addr": ("192.0.2.1", 0)}, {}, {"local_addr": "x"}, {"remote_addr": (HOST, "no such")}):
        with expected():
            await world.loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options)  # type: ignore[arg-type]
    with expected():
        await world.loop.create_datagram_endpoint(fail, local_addr=(HOST, 0))
    for count in range(4):
        await cancelled(
            world.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0)),  # type: ignore[arg-type]
            count,
        )
        await turns()


@failure
async def datagrams_that_nobody_receives(world: World) -> None:
    with refused_port() as port:
        for make in (asyncio.DatagramProtocol, lambda: FailingDatagrams("error_received")):
            transport, _ = await world.loop.create_datagram_endpoint(make, remote_addr=(HOST, port))
            for _ in range(3):
                with expected():
                    transport.sendto(b"x")
                await turns(2)
            await until_closed(transport)


@failure
async def datagram_protocols_that_fail(world: World) -> None:
    for method in ("connection_made", "datagram_received", "connection_lost"):
        transport, _ = await world.loop.create_datagram_endpoint(
            lambda method=method: FailingDatagrams(method), local_addr=(HOST, 0)
        )
        with expected():
            transport.sendto(b"x", ("no such host", 1))
        with expected():
            transport.sendto("x", (HOST, 1))  # type: ignore[arg-type]
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"x", transport.get_extra_info("sockname"))
        await turns()
        await until_closed(transport)


# --- pipes and subprocesses ------------------------------------------------------------------------------------------


@failure
async def pipes_that_are_none(world: World) -> None:
    for connect in (world.loop.connect_read_pipe, world.loop.connect_write_pipe):
        with (world.folder / "file").open("w+") as file, expected():
            await connect(asyncio.Protocol, file)  # type: ignore[arg-type]


@failure
async def pipes_that_break(world: World) -> None:
    ours, theirs = os.pipe()
    with open(theirs, "wb", 0) as file:
        transport, _ = await world.loop.connect_write_pipe(lambda: FailingProtocol("connection_lost"), file)
        os.close(ours)
        transport.write(b"x")
        await turns()
        transport.close()
        await turns()
    ours, theirs = os.pipe()
    with open(ours, "rb", 0) as file:
        reading, _ = await world.loop.connect_read_pipe(lambda: FailingProtocol("data_received"), file)
        os.write(theirs, b"x")
        await turns()
        os.close(theirs)
        await turns()
        await until_closed(reading)
    ours, theirs = os.pipe()
    with open(ours, "rb", 0) as file, open(theirs, "wb", 0) as other:
        with expected():
            await world.loop.connect_read_pipe(fail, file)
        with expected():
            await world.loop.connect_write_pipe(fail, other)
        for count in range(4):
            await cancelled(world.loop.connect_read_pipe(asyncio.Protocol, os.fdopen(os.dup(ours), "rb", 0)), count)
            await turns()


@failure
async def programs_that_are_not_there(world: World) -> None:
    with expected():
        await asyncio.create_subprocess_exec(str(world.folder / "nothing"))
    with expected():
        await asyncio.create_subprocess_exec(str(world.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with expected():
        await asyncio.create_subprocess_exec("/bin/true", cwd=str(world.folder / "nothing"))
    with expected():
        await world.loop.subprocess_exec(fail, "/bin/true")
    with expected():
        await world.loop.subprocess_exec(asyncio.SubprocessProtocol)


@failure
async def a_program_that_is_given_up(world: World) -> None:
    process = await asyncio.create_subprocess_exec("/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    await timed_out(world, process.communicate())
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    await asyncio.sleep(SHORT_S)


@failure
async def a_program_that_is_cancelled_while_it_begins(world: World) -> None:
    for count in range(3):
        await cancelled(asyncio.create_subprocess_exec("/bin/true", stdout=subprocess.PIPE), count)
        await asyncio.sleep(SHORT_S)


# --- TLS -------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def answering(answer: Callable[[socket.socket], None]) -> Any:
    """The address of a server that runs *answer* for each connection and closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        answer(writer.get_extra_info("socket")._sock)
        writer.transport.abort()
        reader, writer = None, None  # type: ignore[assignment]

    server = await asyncio.start_server(handle, HOST, 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await turns()


def reset(sock: socket.socket) -> None:
    """Have the socket send a reset when it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@failure
async def handshakes_with_somebody_else(world: World) -> None:
    for answer in (reset, lambda sock: sock.send(b"HTTP/1.1 400\r\n\r\n" * 10), lambda sock: None):
        async with answering(answer) as address:
            with expected():
                await asyncio.open_connection(
                    *address, ssl=world.certificates.client_context(), server_hostname="localhost"
                )
            await turns()


@contextlib.asynccontextmanager
async def tls_server(world: World) -> Any:
    """The address of a TLS server."""
    server = await world.loop.create_server(asyncio.Protocol, HOST, 0, ssl=world.certificates.server_context())
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await turns()


@failure
async def certificates_that_are_not_believed(world: World) -> None:
    async with tls_server(world) as address:
        for context, name in (
            (ssl.create_default_context(), "localhost"),
            (world.certificates.client_context(), "example.org"),
        ):
            with expected():
                await world.loop.create_connection(asyncio.Protocol, *address, ssl=context, server_hostname=name)
            await asyncio.sleep(SHORT_S)


@failure
async def handshakes_that_are_given_up(world: World) -> None:
    context = world.certificates.client_context()
    with listening() as (_, address):
        with expected():
            await world.loop.create_connection(
                asyncio.Protocol, *address, ssl=context, server_hostname="x", ssl_handshake_timeout=SHORT_S
            )
        for count in range(2, 8):
            await cancelled(
                world.loop.create_connection(asyncio.Protocol, *address, ssl=context, server_hostname="x"), count
            )
            await turns()


@failure
async def clients_that_do_not_speak_tls(world: World) -> None:
    async with tls_server(world) as address:
        for before in (reset, lambda sock: sock.send(b"GET / HTTP/1.0\r\n\r\n"), lambda sock: None):
            with socket.create_connection(address) as client:
                await turns()
                before(client)
                await turns()
            await turns()


@failure
async def start_tls_with_nobody(world: World) -> None:
    context = world.certificates.client_context()
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, protocol = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        with expected():
            await world.loop.start_tls(transport, protocol, context, server_hostname="x", ssl_handshake_timeout=SHORT_S)
        await until_closed(transport)
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, protocol = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        reset(theirs)
        theirs.close()
        with expected():
            await world.loop.start_tls(transport, protocol, context, server_hostname="x")
        await until_closed(transport)


@failure
async def tls_protocols_that_fail(world: World) -> None:
    async with tls_server(world) as address:
        for make in (fail, lambda: FailingProtocol("connection_made"), lambda: FailingProtocol("connection_lost")):
            with expected():
                transport, _ = await world.loop.create_connection(
                    make, *address, ssl=world.certificates.client_context(), server_hostname="localhost"
                )
                await until_closed(transport)
            await asyncio.sleep(SHORT_S)


# --- raw sockets -----------------------------------------------------------------------------------------------------


@failure
async def sock_connect_that_fails(world: World) -> None:
    with refused_port() as port, socket.socket() as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, (HOST, port))
    with socket.socket() as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, ("no such host", "x"))  # type: ignore[arg-type]
    with socket.socket(socket.AF_UNIX) as sock, expected():
        sock.setblocking(False)
        await world.loop.sock_connect(sock, str(world.folder / "nobody"))
    with crowded() as address, socket.socket() as sock:
        sock.setblocking(False)
        await cancelled(world.loop.sock_connect(sock, address))
    with crowded() as address, socket.socket() as sock:
        sock.setblocking(False)
        await timed_out(world, world.loop.sock_connect(sock, address))


@failure
async def sock_accept_that_fails(world: World) -> None:
    with listening() as (listener, _):
        await cancelled(world.loop.sock_accept(listener))
        await timed_out(world, world.loop.sock_accept(listener))
    with expected():
        await world.loop.sock_accept(listener)


def raw_calls(world: World, sock: socket.socket) -> list[Callable[[], Awaitable[Any]]]:
    """Operations that wait for *sock*, which has nothing to receive and no room."""
    loop = world.loop
    return [
        lambda: loop.sock_recv(sock, 1),
        lambda: loop.sock_recv_into(sock, bytearray(1)),
        lambda: loop.sock_recvfrom(sock, 1),
        lambda: loop.sock_recvfrom_into(sock, bytearray(1)),
        lambda: loop.sock_sendall(sock, b"x"),
        lambda: loop.sock_sendall(sock, bytearray(1)),
    ]


async def awaiting(make: Callable[[], Awaitable[Any]]) -> None:
    """Wrap any awaitable in a coroutine for a task."""
    await make()


@failure
async def raw_sockets_that_wait_in_vain(world: World) -> None:
    with without_blocking(socket.socketpair()) as (ours, _):
        fill(ours)
        for make in raw_calls(world, ours):
            await cancelled(awaiting(make))
            await timed_out(world, awaiting(make))


@failure
async def raw_sockets_that_are_reset(world: World) -> None:
    for number in range(6):
        with without_blocking(tcp_pair()) as (ours, theirs):
            fill(ours)
            task = asyncio.ensure_future(awaiting(raw_calls(world, ours)[number]))
            await turns(2)
            reset(theirs)
            theirs.close()
            await ended(task)


@failure
async def raw_sockets_that_are_closed(world: World) -> None:
    with without_blocking(socket.socketpair()) as (ours, theirs):
        theirs.close()
        with expected():
            await world.loop.sock_sendall(ours, b"x")
        with expected():
            await world.loop.sock_recv(ours, -1)
        with expected():
            await world.loop.sock_recv_into(ours, b"x")  # type: ignore[arg-type]
    for make in raw_calls(world, ours):
        with expected():
            await make()


@failure
async def sendfile_that_fails(world: World) -> None:
    path = world.folder / "sent"
    path.write_bytes(b"x" * (1 << 22))
    with path.open("rb") as file:
        with without_blocking(socket.socketpair()) as (ours, _):
            await cancelled(world.loop.sock_sendfile(ours, file))
        with without_blocking(socket.socketpair()) as (ours, theirs):
            theirs.close()
            with expected():
                await world.loop.sock_sendfile(ours, file)
        with without_blocking(tcp_pair()) as (ours, theirs):
            transport, _ = await world.loop.create_connection(asyncio.Protocol, sock=ours)
            await cancelled(world.loop.sendfile(transport, file))
            transport.abort()
            await turns()
            with expected():
                await world.loop.sendfile(transport, file)


# --- streams and transports ------------------------------------------------------------------------------------------


@failure
async def streams_that_end(world: World) -> None:
    for end in (socket.socket.close, reset):
        with without_blocking(tcp_pair()) as (ours, theirs):
            reader, writer = await asyncio.open_connection(sock=ours)
            task = asyncio.ensure_future(reader.readexactly(10))
            await cancelled(reader.read(1))
            await turns(2)
            end(theirs)
            theirs.close()
            await ended(task)
            for _ in range(3):
                writer.write(b"x")
                with expected():
                    await writer.drain()
                await turns(2)
            writer.close()
            with expected():
                await writer.wait_closed()
            await turns()


@failure
async def writes_that_fail(world: World) -> None:
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, _ = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        with expected():
            transport.write("x")  # type: ignore[arg-type]
        with expected():
            transport.writelines([b"x", None])  # type: ignore[list-item]
        transport.write(b"x" * (1 << 22))
        reset(theirs)
        theirs.close()
        await turns()
        await until_closed(transport)


# --- tasks, callbacks and primitives ---------------------------------------------------------------------------------


@failure
async def callbacks_that_fail(world: World) -> None:
    world.loop.call_soon(fail)
    world.loop.call_soon_threadsafe(fail)
    world.loop.call_later(0, fail)
    future = world.loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)
    with without_blocking(socket.socketpair()) as (ours, theirs):
        world.loop.add_reader(ours, fail)
        theirs.send(b"x")
        await turns()
        world.loop.remove_reader(ours)
    with expected():
        await world.loop.run_in_executor(None, fail)
    await asyncio.sleep(SHORT_S)


async def failing(count: int = 0) -> None:
    """Raise after *count* turns."""
    await turns(count)
    raise Failed


@failure
async def tasks_that_fail(world: World) -> None:
    with expected():
        await failing(1)
    for count in range(3):
        with expected():
            await world.loop.create_task(failing(count))
        with expected():
            await world.aio.wait_for(failing(count), 1)
        with expected():
            await world.aio.shield(failing(count))
        with expected():
            await world.aio.gather(failing(count), failing(count))
        await world.aio.gather(failing(count), failing(count), return_exceptions=True)
        done, _ = await world.aio.wait([world.loop.create_task(failing(count))])
        for task in done:
            task.exception()
        del done, task
        for each in world.aio.as_completed([failing(count), failing(count)]):
            with expected():
                await each
        del each
        with expected():
            async with world.aio.timeout(1):
                await failing(count)
    with expected():
        async with world.aio.TaskGroup() as group:
            group.create_task(failing(1))
            group.create_task(failing(2))
    await turns()


def waits(world: World) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    """Waits of every kind that nothing completes."""
    aio = world.aio
    lock, semaphore, queue, barrier = aio.Lock(), aio.Semaphore(0), aio.Queue(1), aio.Barrier(2)
    queue.put_nowait(None)

    async def locked() -> None:
        async with lock, lock:
            pass

    async def told() -> None:
        condition = aio.Condition()
        async with condition:
            await condition.wait()

    async def grouped() -> None:
        async with aio.TaskGroup() as group:
            group.create_task(aio.sleep(10))

    async def within() -> None:
        async with aio.timeout(10):
            await aio.sleep(10)

    return [
        lambda: aio.sleep(10),
        locked,
        told,
        grouped,
        within,
        lambda: semaphore.acquire(),
        lambda: queue.put(None),
        lambda: aio.Queue().get(),
        lambda: queue.join(),
        lambda: barrier.wait(),
        lambda: aio.Event().wait(),
        lambda: aio.wait_for(world.loop.create_future(), 10),
        lambda: aio.wait_for(aio.sleep(10), 10),
        lambda: aio.wait([world.loop.create_future()]),
        lambda: awaiting(lambda: aio.gather(aio.sleep(10), aio.sleep(10))),
        lambda: awaiting(lambda: aio.shield(world.loop.create_future())),
    ]


@failure
async def waits_that_are_cancelled(world: World) -> None:
    for make in waits(world):
        await cancelled(make(), 3)
    await turns()


@failure
async def waits_that_take_too_long(world: World) -> None:
    for make in waits(world):
        await timed_out(world, make())
    with expected():
        async with world.aio.timeout(SHORT_S):
            await world.aio.sleep(1)
    await turns()
