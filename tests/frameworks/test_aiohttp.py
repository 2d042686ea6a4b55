"""aiohttp's server and client on one loop, over TCP and TLS: requests that go well and requests cut short."""

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import aiohttp
import pytest
from aiohttp import web

from .certificates import Certificates
from .loop_under_test import assert_running_on_loop_under_test, run

LIMIT_S = 15.0


class Site:
    """A running server: where it is, and the runner that ends it."""

    def __init__(self, runner: web.AppRunner, base: str) -> None:
        self.runner = runner
        self.base = base

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])


@asynccontextmanager
async def site(
    tls: ssl.SSLContext | None, *routes: web.AbstractRouteDef, host: str = "127.0.0.1"
) -> AsyncIterator[Site]:
    """Serve *routes* on a free port of *host*; handlers are cancelled when their client goes away."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LIMIT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield Site(runner, f"{'https' if tls else 'http'}://{host}:{port}")
    finally:
        await runner.cleanup()


@pytest.fixture
def server_tls(secure: bool, certificates: Certificates) -> ssl.SSLContext | None:
    return certificates.server_context() if secure else None


@pytest.fixture
def client_tls(certificates: Certificates) -> ssl.SSLContext:
    return certificates.client_context()


def session(tls: ssl.SSLContext, base: str, **options: object) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    options.setdefault("timeout", aiohttp.ClientTimeout(total=LIMIT_S))
    return aiohttp.ClientSession(base, connector=connector, **options)  # type: ignore[arg-type]


def reset(connection: socket.socket) -> None:
    """Close so that the peer gets RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Held:
    """A handler that sends half of its response and then waits to be released, or to be cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"first")
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await response.write(b" last")
        return response


def test_get_and_post_carry_queries_json_forms_and_headers(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def query(request: web.Request) -> web.Response:
        assert_running_on_loop_under_test()
        return web.json_response({"query": dict(request.query), "agent": request.headers["X-Agent"]})

    async def post(request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            return web.json_response(await request.json())
        fields = await request.post()
        upload = fields["file"]
        assert isinstance(upload, web.FileField)
        return web.json_response({"name": fields["name"], "sha256": hashlib.sha256(upload.file.read()).hexdigest()})

    async def main() -> None:
        async with (
            site(server_tls, web.get("/", query), web.post("/", post)) as server,
            session(client_tls, server.base, headers={"X-Agent": "tester"}) as client,
        ):
            async with client.get("/", params={"a": "1", "b": "ü"}) as response:
                assert await response.json() == {"query": {"a": "1", "b": "ü"}, "agent": "tester"}
            async with client.post("/", json={"list": [1, 2, None]}) as response:
                assert await response.json() == {"list": [1, 2, None]}
            content = random.Random(5).randbytes(200_000)
            form = aiohttp.FormData({"name": "n"})
            form.add_field("file", content, filename="f.bin")
            async with client.post("/", data=form) as response:
                assert await response.json() == {"name": "n", "sha256": hashlib.sha256(content).hexdigest()}

    run(main)


def test_bodies_chunked_in_both_directions_arrive_chunk_by_chunk(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def mirror(request: web.Request) -> web.StreamResponse:
        assert request.headers["Transfer-Encoding"] == "chunked"
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async def main() -> None:
        sent = [random.Random(number).randbytes(size) for number, size in enumerate([1, 10, 70_000, 3, 500_000])]

        async def body() -> AsyncIterator[bytes]:
            for chunk in sent:
                yield chunk

        async with (
            site(server_tls, web.post("/", mirror)) as server,
            session(client_tls, server.base) as client,
            client.post("/", data=body()) as response,
        ):
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert await response.read() == b"".join(sent)

    run(main)


def test_requests_one_after_another_reuse_one_connection(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    connections: list[object] = []

    async def remember(request: web.Request) -> web.Response:
        if request.transport not in connections:
            connections.append(request.transport)
        return web.Response(text=str(len(connections)))

    async def main() -> None:
        async with (
            site(server_tls, web.get("/", remember)) as server,
            session(client_tls, server.base) as client,
        ):
            for _ in range(20):
                async with client.get("/") as response:
                    assert await response.text() == "1"
            async with client.get("/", headers={"Connection": "close"}) as response:
                await response.read()
            async with client.get("/") as response:
                assert await response.text() == "2"
        connections.clear()

    run(main)


def test_each_of_300_concurrent_requests_gets_its_own_answer(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def double(request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        return web.Response(text=str(2 * int(request.match_info["number"])))

    async def main() -> None:
        async with (
            site(server_tls, web.get("/{number}", double)) as server,
            session(client_tls, server.base) as client,
        ):

            async def ask(number: int) -> None:
                async with client.get(f"/{number}") as response:
                    assert await response.text() == str(2 * number)

            await asyncio.gather(*(ask(number) for number in range(300)))

    run(main)


def test_a_client_timeout_in_the_middle_of_a_response_leaves_the_session_usable(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        held = Held()
        async with (
            site(server_tls, web.get("/held", held.answer), web.get("/", _hello)) as server,
            session(client_tls, server.base) as client,
        ):
            timeout = aiohttp.ClientTimeout(sock_read=0.1)
            async with client.get("/held", timeout=timeout) as response:
                assert await response.content.readexactly(5) == b"first"
                with pytest.raises(asyncio.TimeoutError):
                    await response.content.read(1)
            await asyncio.wait_for(held.cancelled.wait(), LIMIT_S)
            async with client.get("/") as response:
                assert await response.text() == "hello"

    run(main)


def test_cancelling_a_client_in_the_middle_of_a_response_cancels_the_handler(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        held = Held()
        async with (
            site(server_tls, web.get("/held", held.answer), web.get("/", _hello)) as server,
            session(client_tls, server.base) as client,
        ):
            half_read = asyncio.Event()

            async def read() -> None:
                async with client.get("/held") as response:
                    assert await response.content.readexactly(5) == b"first"
                    half_read.set()
                    await response.content.read(1)

            reading = asyncio.create_task(read())
            await asyncio.wait_for(half_read.wait(), LIMIT_S)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await asyncio.wait_for(held.cancelled.wait(), LIMIT_S)
            async with client.get("/") as response:
                assert await response.text() == "hello"

    run(main)


def test_cancelling_100_clients_wherever_they_are_mixes_up_no_answers(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def number_of(request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        return web.Response(text=request.match_info["number"] * 100)

    async def main() -> None:
        chance = random.Random(6)
        async with (
            site(server_tls, web.get("/{number}", number_of)) as server,
            session(client_tls, server.base) as client,
        ):

            async def ask(number: int) -> None:
                async with client.get(f"/{number}") as response:
                    assert await response.text() == str(number) * 100

            async def cancel_after(turns: int, task: asyncio.Task[None]) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()

            for start in range(0, 200, 20):
                tasks = [asyncio.create_task(ask(number)) for number in range(start, start + 20)]
                await asyncio.gather(*(cancel_after(chance.randrange(30), task) for task in tasks[::2]))
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(each, asyncio.CancelledError | None) for each in results), results
                assert results[1::2] == [None] * 10

    run(main)


def test_a_websocket_carries_text_bytes_pings_and_its_close_code(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == "close":
                await socket.close(code=4001, message=b"done")
            else:
                await socket.send_str(message.data)
        return socket

    async def main() -> None:
        async with (
            site(server_tls, web.get("/", echo)) as server,
            session(client_tls, server.base) as client,
            client.ws_connect("/", autoping=False, max_msg_size=0) as socket,
        ):
            await socket.send_str("häj")
            assert await socket.receive_str(timeout=LIMIT_S) == "häj"
            block = random.Random(7).randbytes(1024 * 1024)
            await socket.send_bytes(block)
            assert await socket.receive_bytes(timeout=LIMIT_S) == block
            await socket.ping(b"beat")
            pong = await socket.receive(timeout=LIMIT_S)
            assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"beat")
            await socket.send_str("close")
            closing = await socket.receive(timeout=LIMIT_S)
            assert (closing.type, closing.data, closing.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "done")

    run(main)


def test_a_static_file_is_sent_whole_in_ranges_and_not_again_when_unchanged(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    content = random.Random(8).randbytes(5 * 1024 * 1024 + 17)
    (tmp_path / "large.bin").write_bytes(content)
    (tmp_path / "empty.bin").write_bytes(b"")

    async def main() -> None:
        async with (
            site(server_tls, web.static("/files", tmp_path)) as server,
            session(client_tls, server.base) as client,
        ):
            async with client.get("/files/large.bin") as response:
                assert hashlib.sha256(await response.read()).digest() == hashlib.sha256(content).digest()
                tag = response.headers["ETag"]
            async with client.get("/files/large.bin", headers={"Range": "bytes=1000-300999"}) as response:
                assert response.status == 206
                assert await response.read() == content[1000:301_000]
            async with client.get("/files/large.bin", headers={"If-None-Match": tag}) as response:
                assert (response.status, await response.read()) == (304, b"")
            async with client.get("/files/empty.bin") as response:
                assert (response.status, await response.read()) == (200, b"")
            bodies = await asyncio.gather(*(_body(client, "/files/large.bin") for _ in range(5)))
            assert all(body == content for body in bodies)

    run(main)


async def _body(client: aiohttp.ClientSession, path: str) -> bytes:
    async with client.get(path) as response:
        return await response.read()


@pytest.mark.parametrize("coding", [web.ContentCoding.gzip, web.ContentCoding.deflate], ids=lambda coding: coding.value)
def test_compressed_bodies_are_decompressed_in_both_directions(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext, coding: web.ContentCoding
) -> None:
    async def mirror(request: web.Request) -> web.Response:
        assert request.headers["Content-Encoding"] == coding.value
        response = web.Response(body=await request.read())
        response.enable_compression(coding)
        return response

    async def main() -> None:
        sent = b"compressible " * 50_000
        async with (
            site(server_tls, web.post("/", mirror)) as server,
            session(client_tls, server.base) as client,
            client.post("/", data=sent, compress=coding.value) as response,
        ):
            assert response.headers["Content-Encoding"] == coding.value
            assert await response.read() == sent

    run(main)


def test_cleanup_lets_the_request_in_flight_finish_and_accepts_no_other(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        held = Held()
        async with (
            site(server_tls, web.get("/", held.answer)) as server,
            session(client_tls, server.base) as client,
        ):
            asking = asyncio.create_task(_body(client, "/"))
            await asyncio.wait_for(held.started.wait(), LIMIT_S)
            cleaning = asyncio.create_task(server.runner.cleanup())
            await _until_refused(server.port)
            assert not asking.done()
            held.release.set()
            assert await asking == b"first last"
            await cleaning

    run(main)


async def _until_refused(port: int) -> None:
    """Return once the listening socket is closed."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                # The listening socket went away with this connection still in its backlog.
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def test_a_client_that_resets_its_connection_cancels_only_its_own_handler(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext, secure: bool
) -> None:
    async def main() -> None:
        held = Held()
        async with (
            site(server_tls, web.get("/held", held.answer), web.get("/", _hello)) as server,
            session(client_tls, server.base) as client,
        ):
            other = asyncio.create_task(_body(client, "/"))

            def ask_and_reset() -> None:
                plain = socket.create_connection(("127.0.0.1", server.port), LIMIT_S)
                connection = client_tls.wrap_socket(plain, server_hostname="127.0.0.1") if secure else plain
                connection.sendall(b"GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
                assert connection.recv(1)
                reset(connection)

            await asyncio.to_thread(ask_and_reset)
            await asyncio.wait_for(held.cancelled.wait(), LIMIT_S)
            assert await other == b"hello"
            assert await _body(client, "/") == b"hello"

    run(main)


@pytest.mark.parametrize("answered", ["nothing", "half a body"])
def test_a_server_that_resets_the_connection_raises_a_client_error(answered: str) -> None:
    async def main() -> None:
        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if answered != "nothing":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                await writer.drain()
                await released.wait()
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        released = asyncio.Event()
        server = await asyncio.start_server(rude, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as client:

            async def ask() -> None:
                # A POST, because aiohttp repeats an idempotent request whose connection fails.
                async with client.post(f"http://127.0.0.1:{port}/") as response:
                    assert await response.content.readexactly(4) == b"half"
                    released.set()
                    await response.read()

            cut_body = (aiohttp.ClientPayloadError, aiohttp.ClientOSError)
            with pytest.raises(aiohttp.ClientConnectionError if answered == "nothing" else cut_body):
                await ask()

    run(main)


def test_a_unix_socket_serves_like_any_other(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "site.sock")
        app = web.Application()
        app.router.add_get("/", _hello)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.UnixSite(runner, path).start()
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as client:
                assert await _body(client, "http://site/") == b"hello"
        finally:
            await runner.cleanup()

    run(main)


def test_the_server_sees_the_clients_certificate(certificates: Certificates) -> None:
    async def subject(request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        return web.Response(text=dict(pair for (pair,) in certificate["subject"])["commonName"])

    async def main() -> None:
        context = certificates.server_context(wants_client_certificate=True)
        async with site(context, web.get("/", subject)) as server:
            async with session(certificates.client_context(with_certificate=True), server.base) as client:
                assert await _body(client, "/") == b"client"
            async with session(certificates.client_context(), server.base) as client:
                with pytest.raises(aiohttp.ClientError):
                    await _body(client, "/")

    run(main)


def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    async def main() -> None:
        tls = certificates.server_context()
        # 127.0.0.2 is reachable, but no name of the certificate.
        async with (
            site(tls, web.get("/", _hello), host="127.0.0.2") as server,
            session(certificates.client_context(), server.base) as client,
        ):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await _body(client, "/")

    run(main)


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def test_a_kept_connection_ends_when_the_replaced_time_says_so() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="answer")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        with mock.patch.object(loop, "time") as time:
            time.return_value = now
            async with site(None, web.get("/", answer)) as served, aiohttp.ClientSession() as session:
                async with session.get(f"{served.base}/") as response:
                    assert await response.text() == "answer"
                server = served.runner.server
                assert server is not None
                (handler,) = server.connections
                while handler._keepalive_handle is None:
                    await asyncio.sleep(0)
                time.return_value = handler._next_keepalive_close_time
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert handler._keepalive_handle is None

    # The limit is on the same clock.
    run(main, limit=1e6)
