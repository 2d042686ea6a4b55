"""Tornado: its HTTP server, its clients, WebSockets and its timers over the loop under test."""

import asyncio
import hashlib
import itertools
import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from tornado import gen, iostream, web, websocket
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.simple_httpclient import HTTPTimeoutError
from tornado.tcpserver import TCPServer

from .certificates import Certificates
from .loop_under_test import assert_running_on_loop_under_test, new_event_loop, run

LIMIT_S = 15.0


class Square(web.RequestHandler):
    async def get(self, number: str) -> None:
        assert_running_on_loop_under_test()
        await gen.sleep(0)
        self.write({"number": int(number), "square": int(number) ** 2})


@web.stream_request_body
class Upload(web.RequestHandler):
    def prepare(self) -> None:
        self.digest = hashlib.sha256()

    def data_received(self, chunk: bytes) -> None:
        self.digest.update(chunk)

    def post(self) -> None:
        self.write(self.digest.hexdigest())


class Stream(web.RequestHandler):
    async def get(self) -> None:
        for number in range(200):
            self.write(b"%05d" % number * 200)
            await self.flush()


class Hang(web.RequestHandler):
    """Never answers; tells when it is asked and when its client is gone."""

    def initialize(self, asked: asyncio.Event, gone: asyncio.Event) -> None:
        self.asked, self.gone = asked, gone

    async def get(self) -> None:
        self.asked.set()
        await self.gone.wait()

    def on_connection_close(self) -> None:
        self.gone.set()


class Fail(web.RequestHandler):
    def get(self) -> None:
        raise ZeroDivisionError("failed")


class Echo(websocket.WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        if message == "close, please":
            self.close(4321, "as asked")
        else:
            await self.write_message(message, binary=isinstance(message, bytes))


class Site:
    def __init__(self, scheme: str, port: int, client: AsyncHTTPClient, asked: asyncio.Event, gone: asyncio.Event):
        self.scheme, self.port, self.client, self.asked, self.gone = scheme, port, client, asked, gone

    async def fetch(self, path: str, **options: Any) -> bytes:
        url = f"{self.scheme}://127.0.0.1:{self.port}{path}"
        return (await self.client.fetch(url, request_timeout=LIMIT_S, **options)).body


@asynccontextmanager
async def site(certificates: Certificates, *, secure: bool) -> AsyncIterator[Site]:
    asked, gone = asyncio.Event(), asyncio.Event()
    app = web.Application(
        [
            ("/square/([0-9]+)", Square),
            ("/upload", Upload),
            ("/stream", Stream),
            ("/hang", Hang, {"asked": asked, "gone": gone}),
            ("/fail", Fail),
            ("/echo", Echo),
        ]
    )
    server = HTTPServer(app, ssl_options=certificates.server_context() if secure else None)
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    server.add_sockets(sockets)
    defaults = {"ssl_options": certificates.client_context()} if secure else None
    client = AsyncHTTPClient(force_instance=True, defaults=defaults, max_clients=50)
    try:
        yield Site("https" if secure else "http", sockets[0].getsockname()[1], client, asked, gone)
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()


def test_each_of_300_concurrent_requests_gets_its_own_answer(certificates: Certificates, secure: bool) -> None:
    async def main() -> None:
        async with site(certificates, secure=secure) as server:
            answers = await asyncio.gather(*(server.fetch(f"/square/{number}") for number in range(300)))
            assert answers == [b'{"number": %d, "square": %d}' % (n, n * n) for n in range(300)]

    run(main)


def test_large_bodies_go_up_and_chunks_come_down(certificates: Certificates, secure: bool) -> None:
    async def main() -> None:
        async with site(certificates, secure=secure) as server:
            sent = random.Random(1).randbytes(8 * 1024 * 1024)
            answer = await server.fetch("/upload", method="POST", body=sent)
            assert answer.decode() == hashlib.sha256(sent).hexdigest()
            pieces: list[bytes] = []
            await server.fetch("/stream", streaming_callback=pieces.append)
            assert b"".join(pieces) == b"".join(b"%05d" % number * 200 for number in range(200))

    run(main)


def test_a_request_that_takes_too_long_is_given_up_and_the_server_sees_it(
    certificates: Certificates, secure: bool
) -> None:
    async def main() -> None:
        async with site(certificates, secure=secure) as server:
            with pytest.raises(HTTPTimeoutError):
                await server.client.fetch(f"{server.scheme}://127.0.0.1:{server.port}/hang", request_timeout=0.3)
            await asyncio.wait_for(server.asked.wait(), LIMIT_S)
            await asyncio.wait_for(server.gone.wait(), LIMIT_S)
            with pytest.raises(HTTPClientError) as raised:
                await server.fetch("/fail")
            assert raised.value.code == 500

    run(main)


def test_a_websocket_echoes_and_closes_with_a_code(certificates: Certificates, secure: bool) -> None:
    async def main() -> None:
        async with site(certificates, secure=secure) as server:
            url = f"{'wss' if secure else 'ws'}://127.0.0.1:{server.port}/echo"
            options = {"ssl_options": certificates.client_context()} if secure else {}
            connection = await websocket.websocket_connect(HTTPRequest(url, **options))
            for message in ["text", b"bytes", random.Random(2).randbytes(300_000)]:
                await connection.write_message(message, binary=isinstance(message, bytes))
                assert await connection.read_message() == message
            await connection.write_message("close, please")
            assert await connection.read_message() is None
            assert (connection.close_code, connection.close_reason) == (4321, "as asked")

    run(main)


def test_streams_of_a_tcp_server_read_to_separators_and_sizes_and_notice_the_end() -> None:
    class Lines(TCPServer):
        async def handle_stream(self, stream: iostream.IOStream, address: tuple[str, int]) -> None:
            try:
                while True:
                    size = int(await stream.read_until(b"\n"))
                    await stream.write(await stream.read_bytes(size))
            except iostream.StreamClosedError:
                self.ended.set()

    async def main() -> None:
        server = Lines()
        server.ended = asyncio.Event()
        sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
        server.add_sockets(sockets)
        stream = iostream.IOStream(socket.socket())
        await stream.connect(sockets[0].getsockname())
        for size in (1, 1000, 1_000_000):
            content = random.Random(size).randbytes(size)
            await stream.write(b"%d\n" % size + content)
            assert await stream.read_bytes(size) == content
        stream.close()
        await asyncio.wait_for(server.ended.wait(), LIMIT_S)
        server.stop()
        with pytest.raises(iostream.StreamClosedError):
            await iostream.IOStream(socket.socket()).connect(closed_address())

    def closed_address() -> tuple[str, int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return listener.getsockname()  # type: ignore[no-any-return]

    run(main)


def test_timers_fire_in_order_and_removed_ones_do_not() -> None:
    async def main() -> None:
        loop = IOLoop.current()
        seen: list[str] = []
        done = asyncio.Event()
        loop.call_later(0.03, lambda: (seen.append("third"), done.set()))
        loop.add_timeout(timedelta(milliseconds=10), seen.append, "first")
        loop.call_at(loop.time() + 0.02, seen.append, "second")
        removed = loop.call_later(0.015, seen.append, "removed")
        loop.remove_timeout(removed)
        loop.add_callback(seen.append, "callback")
        await asyncio.wait_for(done.wait(), LIMIT_S)
        assert seen == ["callback", "first", "second", "third"]
        with pytest.raises(gen.TimeoutError):
            await gen.with_timeout(timedelta(milliseconds=10), asyncio.Event().wait())

    run(main)


def test_a_periodic_callback_repeats_until_it_is_stopped() -> None:
    async def main() -> None:
        calls: list[float] = []
        enough = asyncio.Event()

        def tick() -> None:
            calls.append(IOLoop.current().time())
            if len(calls) == 5:
                periodic.stop()
                enough.set()

        periodic = PeriodicCallback(tick, 5)
        periodic.start()
        await asyncio.wait_for(enough.wait(), LIMIT_S)
        assert not periodic.is_running()
        assert all(after > before for before, after in itertools.pairwise(calls))
        assert len(calls) == 5

    run(main)


def test_an_io_loop_over_a_loop_of_its_own_runs_starts_stops_and_takes_calls_of_threads() -> None:
    io_loop = IOLoop(asyncio_loop=new_event_loop(), make_current=False)

    async def answer() -> str:
        assert_running_on_loop_under_test()
        await gen.sleep(0.001)
        return "answer"

    assert io_loop.run_sync(answer) == "answer"
    with pytest.raises(TimeoutError):
        io_loop.run_sync(asyncio.Event().wait, timeout=0.02)
    seen: list[str] = []

    def call_from_thread() -> None:
        io_loop.add_callback(seen.append, "from a thread")
        io_loop.add_callback(io_loop.stop)

    thread = threading.Thread(target=call_from_thread)
    io_loop.add_callback(thread.start)
    io_loop.start()
    thread.join()
    assert seen == ["from a thread"]
    readable, writable = socket.socketpair()
    with readable, writable:

        def read(source: socket.socket, events: int) -> None:
            seen.append(source.recv(10).decode())
            io_loop.remove_handler(source)
            io_loop.stop()

        io_loop.add_handler(readable, read, IOLoop.READ)
        writable.send(b"bytes")
        io_loop.start()
    assert seen == ["from a thread", "bytes"]
    io_loop.close()
    assert io_loop.asyncio_loop.is_closed()
