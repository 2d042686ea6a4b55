"""A small HTTP/1.1 server for clients that are programs of their own, in each of asyncio's ways to serve.

=============================  =====================================================================================
``GET /bytes/SEED/SIZE``       Random bytes.
``PUT`` or ``POST /digest``    ``SIZE SHA256`` of the body, which has a length or comes in chunks.
``GET /connection``            The number of the connection, from 0.
=============================  =====================================================================================

The servers keep connections alive, stop writing while the transport says so, and count what they see.
"""

import asyncio
import collections
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from .service import payload

PIECE = 64 * 1024
#: The kernel's buffer of a connection, small enough that a slow client is felt.
SEND_BUFFER = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass
class Seen:
    """What a server has seen."""

    connections: int = 0
    #: Connections that ended.
    ended: int = 0
    #: How many of them ended by an error, by its type.
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    #: The most bytes that waited in a transport.
    most_waiting: int = 0
    #: How often writing was held back.
    held_back: int = 0

    def error(self, error: BaseException | None) -> None:
        if error is not None:
            self.errors[type(error).__name__] += 1


@dataclass
class Request:
    """A head."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def wants_continue(self) -> bool:
        return self.headers.get("expect", "").lower() == "100-continue"


def parse(head: bytes) -> Request:
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    return Request(method, path, {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)})


def answer(request: Request, body: "Body", connection: int) -> Iterator[bytes]:
    """Give the answer in pieces."""
    match request.path.strip("/").split("/"):
        case ["bytes", seed, size]:
            content = payload(int(seed), int(size))
        case ["digest"]:
            content = f"{body.size} {body.digest.hexdigest()}\n".encode()
        case ["connection"]:
            content = f"{connection}\n".encode()
        case _:
            raise ValueError(request.path)
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]


class Body:
    """The digest of a request's body."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def take(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        self.digest.update(data)


def small_buffer(transport: Any) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    transport.set_write_buffer_limits(high=2 * PIECE)


# --- streams ----------------------------------------------------------------------------------------------------------


async def serve_stream(seen: Seen, reader: Any, writer: Any) -> None:
    """Serve one connection until its client ends it."""
    number = seen.connections
    seen.connections += 1
    small_buffer(writer.transport)
    try:
        while head := await head_of(reader):
            request, body = parse(head), Body()
            if request.wants_continue:
                writer.write(CONTINUE)
            async for data in body_of(reader, request):
                body.take(data)
            for piece in answer(request, body, number):
                writer.write(piece)
                waiting = writer.transport.get_write_buffer_size()
                seen.most_waiting = max(seen.most_waiting, waiting)
                seen.held_back += waiting > 2 * PIECE
                await writer.drain()
    except (OSError, asyncio.IncompleteReadError) as error:
        seen.error(error)
    finally:
        writer.close()
        seen.ended += 1


async def head_of(reader: Any) -> bytes:
    """Read to the empty line; nothing at the end of the connection."""
    try:
        head: bytes = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
    return head


async def body_of(reader: Any, request: Request) -> AsyncIterator[bytes]:
    if not request.is_chunked:
        left = request.length
        while left:
            data = await reader.readexactly(min(left, PIECE))
            left -= len(data)
            yield data
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readline() == b"\r\n"


# --- protocols --------------------------------------------------------------------------------------------------------


class Served(asyncio.Protocol):
    """Serves a connection by callbacks. What has been received and not yet understood is in ``held``."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.held = bytearray()
        self.talk = self.talking()
        self.answers: collections.deque[bytes] = collections.deque()
        self.may_write = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.number = self.seen.connections
        self.seen.connections += 1
        small_buffer(transport)
        next(self.talk)

    def data_received(self, data: bytes) -> None:
        self.held += data
        next(self.talk)
        self.flush()

    def flush(self) -> None:
        while self.answers and self.may_write:
            self.transport.write(self.answers.popleft())
            self.seen.most_waiting = max(self.seen.most_waiting, self.transport.get_write_buffer_size())

    def pause_writing(self) -> None:
        self.may_write = False
        self.seen.held_back += 1

    def resume_writing(self) -> None:
        self.may_write = True
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.error(exc)
        self.seen.ended += 1

    def talking(self) -> Iterator[None]:
        """Understand one request after another; stops where more bytes are needed."""
        while True:
            while (end := self.held.find(b"\r\n\r\n")) < 0:
                yield
            request, body = parse(bytes(self.held[: end + 4])), Body()
            del self.held[: end + 4]
            if request.wants_continue:
                self.transport.write(CONTINUE)
            yield from self.chunks(body) if request.is_chunked else self.take(body, request.length)
            self.answers.extend(answer(request, body, self.number))

    def take(self, body: Body, left: int) -> Iterator[None]:
        while left:
            if not self.held:
                yield
            part = bytes(self.held[:left])
            del self.held[:left]
            body.take(part)
            left -= len(part)

    def chunks(self, body: Body) -> Iterator[None]:
        while True:
            while (end := self.held.find(b"\r\n")) < 0:
                yield
            size = int(self.held[:end], 16)
            del self.held[: end + 2]
            yield from self.take(body, size)
            # After the last chunk: the empty line that ends the trailers, of which curl sends none.
            while len(self.held) < 2:
                yield
            del self.held[:2]
            if not size:
                return


class BufferedServed(Served, asyncio.BufferedProtocol):
    """The same, receiving into a buffer of its own."""

    def connection_made(self, transport: Any) -> None:
        self.buffer = bytearray(PIECE)
        super().connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.buffer[:nbytes]))


# --- servers ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def small_http(
    way: str, namespaces: dict[str, ModuleType], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, Seen]]:
    """Serve in one of the ways: ``protocol``, ``buffered``, or streams of one of *namespaces*. Gives the address."""
    seen = Seen()
    protocols: dict[str, Callable[[Seen], asyncio.BaseProtocol]] = {"protocol": Served, "buffered": BufferedServed}
    if way in protocols:
        server = await asyncio.get_running_loop().create_server(lambda: protocols[way](seen), "127.0.0.1", 0, ssl=tls)
    else:
        serve = namespaces[way].start_server
        server = await serve(lambda r, w: serve_stream(seen, r, w), "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
