"""What a loop offers for streams and sockets, as coroutines that clean up after themselves as programs do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from frameworks.certificates import Certificates

#: More than socket buffers take.
MUCH = bytes(8 << 20)


class Quiet(asyncio.Protocol):
    """Knows its transport, for as long as there is one."""

    def __init__(self) -> None:
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[str, int]]:
    """An echo server; its address. Its connections have ended when the context is left."""
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await echo(reader, writer)
        finally:
            writer.transport.abort()

    # Cancelled while it starts to serve, start_server() would keep the server to itself.
    server = await asyncio.start_server(handle, "127.0.0.1", 0, start_serving=False, **options)
    try:
        await server.start_serving()
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


@contextlib.contextmanager
def socket_pair() -> Any:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        yield one, other


def ended(transport: asyncio.BaseTransport) -> None:
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


Address = tuple[str, int]


async def connecting(address: Address, _: Certificates) -> None:
    transport, _protocol = await loop().create_connection(Quiet, *address)
    ended(transport)


async def connecting_to_a_name(address: Address, _: Certificates) -> None:
    transport, _protocol = await loop().create_connection(Quiet, "localhost", address[1], family=socket.AF_INET)
    ended(transport)


async def connecting_from_an_address(address: Address, _: Certificates) -> None:
    transport, _protocol = await loop().create_connection(Quiet, *address, local_addr=("127.0.0.1", 0))
    ended(transport)


async def connecting_with_happy_eyeballs(address: Address, _: Certificates) -> None:
    transport, _protocol = await loop().create_connection(
        Quiet, "localhost", address[1], family=socket.AF_INET, happy_eyeballs_delay=0.01
    )
    ended(transport)


async def connecting_to_nobody(_: Address, __: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()
    with contextlib.suppress(ConnectionRefusedError):
        transport, _protocol = await loop().create_connection(Quiet, *nobody)
        ended(transport)


async def adopting_a_socket(address: Address, _: Certificates) -> None:
    sock = socket.create_connection(address)
    try:
        transport, _protocol = await loop().create_connection(Quiet, sock=sock)
    except BaseException:
        sock.close()
        raise
    ended(transport)


async def adopting_an_accepted_socket(_: Address, __: Certificates) -> None:
    with socket_pair() as (one, other):
        kept = other.dup()
        try:
            transport, _protocol = await loop().connect_accepted_socket(Quiet, kept)
        except BaseException:
            kept.close()
            raise
        one.send(b"hello")
        ended(transport)


async def accepting(_: Address, __: Certificates) -> None:
    welcomed = loop().create_future()

    class Welcomed(Quiet):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            ended(transport)
            if not welcomed.done():
                welcomed.set_result(None)

    server = await loop().create_server(Welcomed, "127.0.0.1", 0, start_serving=False)
    try:
        await server.start_serving()
        with socket.create_connection(server.sockets[0].getsockname()):
            await welcomed
    finally:
        server.close()


async def accepting_a_socket(_: Address, __: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        accept = asyncio.ensure_future(loop().sock_accept(listener))
        try:
            await loop().sock_connect(client, listener.getsockname())
            connection, _address = await accept
            connection.close()
        finally:
            accept.cancel()
            await asyncio.gather(accept, return_exceptions=True)
            if accept.done() and not accept.cancelled() and accept.exception() is None:
                accept.result()[0].close()


async def reading_and_writing(address: Address, _: Certificates) -> None:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"hello\n")
        await writer.drain()
        await reader.readline()
        writer.write(b"x" * 1000)
        await reader.readexactly(1000)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        writer.transport.abort()


async def writing_much(address: Address, _: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _reader, writer = await asyncio.open_connection(*listener.getsockname())
        peer, _address = listener.accept()
        with peer:
            peer.setblocking(False)
            try:
                writer.write(MUCH)
                drained = asyncio.ensure_future(drain_socket(peer, len(MUCH)))
                try:
                    await writer.drain()
                    await drained
                finally:
                    drained.cancel()
                    await asyncio.gather(drained, return_exceptions=True)
            finally:
                writer.transport.abort()


async def drain_socket(sock: socket.socket, count: int) -> None:
    while count:
        count -= len(await loop().sock_recv(sock, 1 << 20))


async def socket_operations(address: Address, _: Certificates) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop().sock_connect(sock, address)
        await loop().sock_sendall(sock, b"hello")
        await loop().sock_recv(sock, 2)
        await loop().sock_recv_into(sock, bytearray(100))


async def sending_much_through_a_socket(_: Address, __: Certificates) -> None:
    with socket_pair() as (one, other):
        receiving = asyncio.ensure_future(drain_socket(other, len(MUCH)))
        try:
            await loop().sock_sendall(one, MUCH)
            await receiving
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def sending_a_file(address: Address, _: Certificates) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1 << 20))
        file.flush()
        transport, _protocol = await loop().create_connection(Quiet, *address)
        try:
            await loop().sendfile(transport, file)
        finally:
            ended(transport)


async def over_tls(address: Address, certificates: Certificates) -> None:
    """TLS from the first byte: connecting, reading, writing, closing."""
    async with served(ssl=certificates.server_context()) as secure:
        reader, writer = await asyncio.open_connection(
            *secure, ssl=certificates.client_context(), server_hostname="localhost"
        )
        try:
            writer.write(b"hello\n")
            await writer.drain()
            await reader.readline()
            writer.close()
            with contextlib.suppress(ssl.SSLError, OSError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()


async def turning_to_tls(_: Address, certificates: Certificates) -> None:
    """``start_tls`` over a connection that is there, with a server that does the same."""
    tasks = []

    class Turning(Quiet):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            tasks.append(loop().create_task(self.turn()))

        async def turn(self) -> None:
            context = certificates.server_context()
            with contextlib.suppress(ssl.SSLError, OSError):
                await loop().start_tls(self.transport, self, context, server_side=True)

    server = await loop().create_server(Turning, "127.0.0.1", 0, start_serving=False)
    transport = None
    try:
        await server.start_serving()
        transport, protocol = await loop().create_connection(Quiet, *server.sockets[0].getsockname())
        context = certificates.client_context()
        secure = await loop().start_tls(transport, protocol, context, server_hostname="localhost")
        assert secure is not None
        secure.write(b"hello")
        secure.close()
    finally:
        server.close()
        if transport is not None:
            transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Operation = Callable[[Address, Certificates], Coroutine[Any, Any, None]]

OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        connecting,
        connecting_to_a_name,
        connecting_from_an_address,
        connecting_with_happy_eyeballs,
        connecting_to_nobody,
        adopting_a_socket,
        adopting_an_accepted_socket,
        accepting,
        accepting_a_socket,
        reading_and_writing,
        writing_much,
        socket_operations,
        sending_much_through_a_socket,
        sending_a_file,
        over_tls,
        turning_to_tls,
    )
}
