"""Four kinds of server for the same conversation: protocol, buffered protocol, streams, sockets."""

import asyncio
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .suspensions import counting_suspensions
from .traffic import ANSWERS, HELLO, TO_CLIENT, TO_SERVER, Mode, Tally, reset_on_close, tagged

ADDRESSES = [f"127.0.0.{last}" for last in range(1, 17)]


class Conversation:
    """The server's side of one connection without a transport: bytes in, a decision out."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._hello = bytearray()
        self._received = 0
        self.number = self.size = 0
        self.mode = Mode.SILENCE

    def feed(self, data: bytes | bytearray | memoryview) -> Mode | None:
        """The mode, at the moment when it is time to act on it."""
        if len(self._hello) < HELLO.size:
            missing = HELLO.size - len(self._hello)
            self._hello += data[:missing]
            if len(self._hello) < HELLO.size:
                return None
            data = data[missing:]
            self.number, self.size, mode = HELLO.unpack(self._hello)
            self.mode = Mode(mode)
            if self.mode in (Mode.ABORT, Mode.RESET):
                return self.mode
        before = self._received
        self._received += len(data)
        if self._received > self.size:
            self._tally.fail(f"server: {self._received - self.size} bytes too many on connection {self.number}")
        elif bytes(data) != tagged(self.number, TO_SERVER, len(data), before):
            self._tally.fail(f"server: wrong bytes on connection {self.number}")
        elif before < self.size == self._received and self.mode in ANSWERS:
            return self.mode
        return None

    def answer(self) -> bytes:
        return tagged(self.number, TO_CLIENT, self.size)


class ServerProtocol(asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._conversation = Conversation(tally)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tally.opened += 1
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        mode = self._conversation.feed(data)
        if mode is None:
            return
        transport = self._transport
        if mode is Mode.RESET:
            reset_on_close(transport.get_extra_info("socket"))
        if mode in (Mode.ABORT, Mode.RESET):
            transport.abort()
            return
        transport.write(self._conversation.answer())
        if mode is Mode.ANSWER_AND_CLOSE:
            transport.close()
        elif mode is Mode.ANSWER_AND_HALF_CLOSE:
            transport.write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.closed += 1


class BufferedServerProtocol(asyncio.BufferedProtocol):
    """The same into a buffer of its own."""

    def __init__(self, tally: Tally) -> None:
        self._protocol = ServerProtocol(tally)
        self._buffer = memoryview(bytearray(16384))
        self.connection_made = self._protocol.connection_made
        self.connection_lost = self._protocol.connection_lost

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(self._buffer[:nbytes]))


class StreamServer:
    """``start_server`` whose handlers are cancelled now and then at a random await."""

    def __init__(self, tally: Tally, chance: random.Random) -> None:
        self._tally = tally
        self._chance = chance

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tally.opened += 1
        try:
            cancelled_at = self._chance.choice([0] * 15 + [1, 2, 3])
            await counting_suspensions(self._converse(reader, writer), cancelled_at, task.cancel)
        except asyncio.CancelledError:
            # asyncio of Python 3.11 and 3.12 reports a cancelled handler as an error of its own.
            if sys.version_info >= (3, 13):
                raise
        finally:
            self._tally.closed += 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(self._tally)
        try:
            while data := await reader.read(65536):
                mode = conversation.feed(data)
                if mode is None:
                    continue
                if mode is Mode.RESET:
                    reset_on_close(writer.get_extra_info("socket"))
                if mode in (Mode.ABORT, Mode.RESET):
                    writer.transport.abort()
                    break
                writer.write(conversation.answer())
                await writer.drain()
                if mode is Mode.ANSWER_AND_CLOSE:
                    break
                if mode is Mode.ANSWER_AND_HALF_CLOSE:
                    writer.write_eof()
        except asyncio.CancelledError:
            self._tally.counts["server handler cancelled"] += 1
            writer.close()
            raise
        except OSError:
            pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class SocketServer:
    """``sock_accept``, ``sock_recv`` and ``sock_sendall``, with a task for each connection."""

    def __init__(self, tally: Tally, listener: socket.socket) -> None:
        self._tally = tally
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            self._tally.opened += 1
            task = loop.create_task(self._converse(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _converse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        conversation = Conversation(self._tally)
        try:
            with connection:
                while data := await loop.sock_recv(connection, 65536):
                    mode = conversation.feed(data)
                    if mode is None:
                        continue
                    if mode is Mode.RESET:
                        reset_on_close(connection)
                    if mode in (Mode.ABORT, Mode.RESET):
                        return
                    await loop.sock_sendall(connection, conversation.answer())
                    if mode is Mode.ANSWER_AND_CLOSE:
                        return
                    if mode is Mode.ANSWER_AND_HALF_CLOSE:
                        connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            self._tally.closed += 1


async def start_servers(
    tally: Tally, chance: random.Random
) -> tuple[list[tuple[str, int]], Callable[[], Awaitable[None]]]:
    """Addresses that listen, each with one of four kinds of server, and what ends them all."""
    loop = asyncio.get_running_loop()
    addresses: list[tuple[str, int]] = []
    servers: list[asyncio.Server] = []
    accepting: list[asyncio.Task[None]] = []
    listeners: list[socket.socket] = []
    for index, host in enumerate(ADDRESSES):
        listener = socket.create_server((host, 0), backlog=1024)
        listener.setblocking(False)
        addresses.append(listener.getsockname())
        if index % 4 == 0:
            servers.append(await loop.create_server(lambda: ServerProtocol(tally), sock=listener, backlog=1024))
        elif index % 4 == 1:
            servers.append(await loop.create_server(lambda: BufferedServerProtocol(tally), sock=listener, backlog=1024))
        elif index % 4 == 2:
            handle = StreamServer(tally, chance).handle
            servers.append(await asyncio.start_server(handle, sock=listener, backlog=1024))
        else:
            listeners.append(listener)
            accepting.append(loop.create_task(SocketServer(tally, listener).serve()))

    async def stop() -> None:
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        for listener in listeners:
            listener.close()
        for server in servers:
            server.close()
            await server.wait_closed()

    return addresses, stop
