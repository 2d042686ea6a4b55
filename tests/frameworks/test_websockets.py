"""The ``websockets`` library's client and server on one loop, over TCP and TLS."""

import asyncio
import base64
import hashlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from .certificates import Certificates
from .loop_under_test import assert_running_on_loop_under_test, run

LIMIT_S = 15.0
MEBIBYTE = 1024 * 1024


class Net:
    """Serves and connects with the same choice of TCP or TLS."""

    def __init__(self, server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext | None) -> None:
        self.server_tls = server_tls
        self.client_tls = client_tls

    def serve(self, handler: Any, **options: Any) -> serve:
        return serve(handler, "127.0.0.1", 0, ssl=self.server_tls, **options)

    def connect(self, server: Server, **options: Any) -> connect:
        port = server.sockets[0].getsockname()[1]
        scheme = "wss" if self.client_tls else "ws"
        return connect(f"{scheme}://127.0.0.1:{port}", ssl=self.client_tls, proxy=None, **options)

    @asynccontextmanager
    async def pair(self, handler: Any, **options: Any) -> AsyncIterator[ClientConnection]:
        """A client of a server that serves *handler*."""
        async with self.serve(handler, **options) as server, self.connect(server, **options) as client:
            yield client


@pytest.fixture
def net(secure: bool, certificates: Certificates) -> Net:
    return Net(certificates.server_context(), certificates.client_context()) if secure else Net(None, None)


async def echo(connection: ServerConnection) -> None:
    assert_running_on_loop_under_test()
    async for message in connection:
        await connection.send(message)


def test_text_and_bytes_come_back_as_they_were(net: Net) -> None:
    async def main() -> None:
        async with net.pair(echo) as client:
            for message in ["", "text", "ünïcode ✓", b"", b"\x00\xff"]:
                await client.send(message)
                assert await client.recv() == message

    run(main)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_of_one_mebibyte_come_back_as_they_were(net: Net, compression: str | None) -> None:
    async def main() -> None:
        messages = [random.Random(number).randbytes(MEBIBYTE) for number in range(4)]
        async with net.pair(echo, compression=compression, max_size=2 * MEBIBYTE) as client:
            for message in messages:
                await client.send(message)
                assert await client.recv() == message
            # All of them under way at once: reading pauses writing.
            sending = asyncio.create_task(_send_all(client, messages))
            assert [await client.recv() for _ in messages] == messages
            await sending

    run(main)


async def _send_all(client: ClientConnection, messages: list[bytes]) -> None:
    for message in messages:
        await client.send(message)


def test_a_message_in_fragments_arrives_as_one(net: Net) -> None:
    async def main() -> None:
        async with net.pair(echo) as client:
            await client.send(["one ", "two ", "three"])
            assert await client.recv() == "one two three"

    run(main)


def test_each_ping_is_answered_by_its_own_pong(net: Net) -> None:
    async def main() -> None:
        async with net.pair(echo) as client:
            waiters = [await client.ping(str(number)) for number in range(5)]
            latencies = await asyncio.gather(*waiters)
            assert all(latency >= 0 for latency in latencies)

    run(main)


def test_keepalive_pings_go_both_ways_on_their_own(net: Net) -> None:
    async def main() -> None:
        latency_known = asyncio.Event()

        async def wait_for_latency(connection: Any) -> None:
            while connection.latency == 0:
                await asyncio.sleep(0.01)

        async def handler(connection: ServerConnection) -> None:
            await wait_for_latency(connection)
            latency_known.set()
            await connection.wait_closed()

        async with net.pair(handler, ping_interval=0.02) as client:
            await asyncio.wait_for(wait_for_latency(client), LIMIT_S)
            await asyncio.wait_for(latency_known.wait(), LIMIT_S)

    run(main)


def test_a_peer_that_answers_no_pings_is_given_up_with_1011(secure: bool, net: Net) -> None:
    async def main() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Answers the handshake and then nothing more."""
            request = await reader.readuntil(b"\r\n\r\n")
            key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            writer.write(_handshake_answer(key.partition(b":")[2].strip()))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0, ssl=net.server_tls)
        port = server.sockets[0].getsockname()[1]
        async with server:
            address = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}"
            async with connect(
                address,
                ssl=net.client_tls,
                proxy=None,
                ping_interval=0.05,
                ping_timeout=0.05,
                close_timeout=0.05,
            ) as client:
                with pytest.raises(ConnectionClosedError) as closed:
                    await client.recv()
                assert closed.value.sent is not None
                assert closed.value.sent.code == 1011

    run(main)


def _handshake_answer(key: bytes) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("code", "kind"), [(1000, ConnectionClosedOK), (1001, ConnectionClosedOK), (4000, ConnectionClosedError)]
)
def test_the_client_sees_the_servers_close_code_and_reason(net: Net, code: int, kind: type[ConnectionClosed]) -> None:
    async def main() -> None:
        async def handler(connection: ServerConnection) -> None:
            await connection.close(code, "why")

        async with net.pair(handler) as client:
            with pytest.raises(kind) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "why")
            assert (client.close_code, client.close_reason) == (code, "why")

    run(main)


def test_the_server_sees_the_clients_close_code_and_reason(net: Net) -> None:
    async def main() -> None:
        seen: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

        async def handler(connection: ServerConnection) -> None:
            await connection.wait_closed()
            seen.set_result((connection.close_code, connection.close_reason))

        async with net.pair(handler) as client:
            await client.close(4999, "enough")
            assert await asyncio.wait_for(seen, LIMIT_S) == (4999, "enough")

    run(main)


def test_a_lost_connection_closes_both_ends_with_1006(net: Net) -> None:
    async def main() -> None:
        seen: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def handler(connection: ServerConnection) -> None:
            await connection.wait_closed()
            seen.set_result(connection.close_code)

        async with net.pair(handler) as client:
            client.transport.abort()
            with pytest.raises(ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1006
            assert await asyncio.wait_for(seen, LIMIT_S) == 1006

    run(main)


def test_100_clients_at_once_each_get_their_own_messages(net: Net) -> None:
    async def main() -> None:
        async with net.serve(echo) as server:

            async def talk(number: int) -> None:
                async with net.connect(server) as client:
                    for turn in range(5):
                        await client.send(f"{number}: {turn}")
                        assert await client.recv() == f"{number}: {turn}"

            await asyncio.gather(*(talk(number) for number in range(100)))

    run(main)


def test_a_cancelled_recv_loses_no_message(net: Net) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def handler(connection: ServerConnection) -> None:
            await asked.wait()
            for number in range(10):
                await connection.send(str(number))
            await connection.wait_closed()

        async with net.pair(handler) as client:
            receiving = asyncio.create_task(client.recv())
            await asyncio.sleep(0)
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            asked.set()
            assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]

    run(main)


def test_cancelling_clients_while_they_connect_leaves_the_server_serving(net: Net) -> None:
    async def main() -> None:
        async def connect_and_talk(server: Server) -> None:
            async with net.connect(server) as client:
                await client.send("hello")
                assert await client.recv() == "hello"

        async with net.serve(echo) as server:
            chance = random.Random(9)
            for _ in range(10):
                tasks = [asyncio.create_task(connect_and_talk(server)) for _ in range(8)]
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert results[1::2] == [None] * 4, results
                assert all(isinstance(each, asyncio.CancelledError | None) for each in results), results

    # The server logs a handshake that its client left; the loop's exception handler must not hear of it.
    run(main)


def test_closing_the_server_sends_1001_to_its_clients(net: Net) -> None:
    async def main() -> None:
        async def handler(connection: ServerConnection) -> None:
            await connection.send("here")
            await connection.wait_closed()

        async with net.serve(handler) as server, net.connect(server) as client:
            assert await client.recv() == "here"
            server.close()
            with pytest.raises(ConnectionClosedOK) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            await server.wait_closed()

    run(main)


def test_a_unix_socket_carries_a_websocket(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "websocket.sock")
        async with unix_serve(echo, path), unix_connect(path, uri="ws://localhost/") as client:
            await client.send("over unix")
            assert await client.recv() == "over unix"

    run(main)
