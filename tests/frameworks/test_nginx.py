"""nginx as the peer: aiohttp and httpx against it, and it as the proxy before uvicorn, over TCP and TLS."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import aiohttp
import httpx
import pytest
import websockets
from fastapi import FastAPI, Request

from . import http_clients
from .certificates import Certificates
from .http_clients import get_json, open_client
from .loop_under_test import FACTORY, is_loop_under_test, run
from .server_process import ServerProcess
from .servers.nginx import SHORT, Nginx, nginx
from .service import app, lifespan, payload
from .uvicorn_in_loop import serve_in_loop

MEBIBYTE = 1024 * 1024


@pytest.fixture
def tls(certificates: Certificates) -> ssl.SSLContext:
    return certificates.client_context()


@pytest.fixture(params=http_clients.NAMES)
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(nginx_server: Nginx, secure: bool) -> str:
    return nginx_server.base(secure=secure)


@dataclass(frozen=True)
class Proxied:
    """A service behind an nginx: ``open`` runs it, if it does not run already."""

    nginx: Nginx
    open: Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module", params=["own process", "same loop"])
def service(request: pytest.FixtureRequest, nginx_server: Nginx, certificates: Certificates) -> Iterator[Proxied]:
    if request.param == "same loop":

        @asynccontextmanager
        async def serve() -> AsyncIterator[None]:
            async with serve_in_loop(app, uds=str(nginx_server.upstream)):
                yield

        yield Proxied(nginx_server, serve)
        return
    with nginx(certificates) as another:
        command = ["-m", "uvicorn", "service:app", "--loop", FACTORY, "--uds", another.upstream]
        with ServerProcess(command) as process:
            process.wait_for("running on unix socket")
            yield Proxied(another, nullcontext)


@pytest.fixture(scope="module")
def files(nginx_server: Nginx) -> dict[str, bytes]:
    """What lies in the folder that nginx serves."""
    contents = {f"{size}.bin": payload(size, size) for size in (0, 1, 1000, 100_000, 8 * MEBIBYTE)}
    for name, content in contents.items():
        (nginx_server.files / name).write_bytes(content)
    return contents


def test_files_of_every_size_come_whole(
    base: str, files: dict[str, bytes], client_name: str, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with open_client(client_name, base, tls) as client:
            for name, content in files.items():
                received = await client.request("GET", f"/files/{name}")
                assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()

    run(main)


def test_hundreds_of_requests_over_few_connections_get_their_own_ranges(
    base: str, files: dict[str, bytes], tls: ssl.SSLContext
) -> None:
    content = files["100000.bin"]

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=10, ssl=tls)
        async with aiohttp.ClientSession(base, connector=connector) as session:

            async def part(start: int) -> None:
                headers = {"Range": f"bytes={start}-{start + 99}"}
                async with session.get("/files/100000.bin", headers=headers) as response:
                    assert response.status == 206
                    assert await response.read() == content[start : start + 100]

            await asyncio.gather(*(part(start) for start in range(0, 40_000, 100)))

    run(main)


def test_a_client_goes_on_when_nginx_closes_the_connection_between_requests(
    base: str, files: dict[str, bytes], client_name: str, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with open_client(client_name, base, tls, connections=1) as client:
            for _ in range(4 * SHORT + 1):
                assert await client.request("GET", "/short/1000.bin") == files["1000.bin"]

    run(main)


def test_a_download_that_is_given_up_leaves_the_others_whole(
    base: str, files: dict[str, bytes], tls: ssl.SSLContext
) -> None:
    name, content = "8388608.bin", files["8388608.bin"]

    async def main() -> None:
        async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=tls)) as session:
            half = asyncio.Event()

            async def give_up() -> None:
                async with session.get(f"/files/{name}") as response:
                    await response.content.readexactly(MEBIBYTE)
                    half.set()
                    await asyncio.Event().wait()

            async def read_all() -> None:
                async with session.get(f"/files/{name}") as response:
                    assert hashlib.sha256(await response.read()).digest() == hashlib.sha256(content).digest()

            abandoned = asyncio.create_task(give_up())
            whole = asyncio.create_task(read_all())
            await half.wait()
            abandoned.cancel()
            with pytest.raises(asyncio.CancelledError):
                await abandoned
            await whole
            await read_all()

    run(main)


def test_the_service_behind_nginx_answers_on_the_loop_under_test(
    service: Proxied, client_name: str, secure: bool, tls: ssl.SSLContext
) -> None:
    base = service.nginx.base(secure=secure)

    async def main() -> None:
        async with service.open(), open_client(client_name, base, tls, connections=20) as client:
            assert is_loop_under_test((await get_json(client, "/loop"))["module"])

            async def ask(number: int) -> None:
                answer = await get_json(client, f"/square/{number}", nonce=f"nonce of {number}")
                assert answer == {"number": number, "square": number**2, "nonce": f"nonce of {number}"}

            await asyncio.gather(*(ask(number) for number in range(200)))

    run(main)


def test_large_bodies_go_up_and_down_through_nginx(
    service: Proxied, client_name: str, secure: bool, tls: ssl.SSLContext
) -> None:
    base = service.nginx.base(secure=secure)

    async def main() -> None:
        async with service.open(), open_client(client_name, base, tls) as client:
            sent = payload(1, 8 * MEBIBYTE)
            answer = json.loads(await client.request("POST", "/upload", body=sent))
            assert answer == {"size": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}
            received = await client.request("GET", "/download", params={"seed": 2, "size": 8 * MEBIBYTE})
            assert hashlib.sha256(received).digest() == hashlib.sha256(payload(2, 8 * MEBIBYTE)).digest()
            chunks = await client.chunks("/stream", params={"seed": 3, "chunks": 200, "size": 1000})
            assert b"".join(chunks) == payload(3, 200_000)

    run(main)


def test_chunked_uploads_pass_through_nginx(service: Proxied, secure: bool, tls: ssl.SSLContext) -> None:
    pieces = [payload(number, size) for number, size in enumerate([1, 70_000, 3, 500_000])]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)

    base = service.nginx.base(secure=secure)

    async def main() -> None:
        async with service.open():
            async with (
                aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=tls)) as session,
                session.post("/upload", data=body()) as response,
            ):
                assert (await response.json())["sha256"] == digest
            async with httpx.AsyncClient(base_url=base, verify=tls, trust_env=False) as client:
                assert (await client.post("/upload", content=body())).json()["sha256"] == digest

    run(main)


def test_a_websocket_passes_through_nginx(service: Proxied, secure: bool, tls: ssl.SSLContext) -> None:
    base = service.nginx.base(secure=secure)

    async def main() -> None:
        async with service.open():
            address = base.replace("http", "ws", 1) + "/echo"
            async with websockets.connect(address, ssl=tls if secure else None, proxy=None) as socket:
                for message in ["text", b"bytes", payload(4, 300_000)]:
                    await socket.send(message)
                    assert await socket.recv() == message
                await socket.send("close, please")
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4321

    run(main)


def test_nginx_answers_for_a_service_that_went_away_and_finds_it_again(
    nginx_server: Nginx, base: str, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=tls)) as session:
            for _ in range(2):
                async with serve_in_loop(app, uds=str(nginx_server.upstream)), session.get("/loop") as response:
                    assert response.status == 200
                    await response.read()
                async with session.get("/loop") as response:
                    assert response.status == 502

    run(main)


def test_a_request_that_its_client_gives_up_is_disconnected_at_the_service(
    nginx_server: Nginx,
) -> None:
    # Over TLS nginx looks for the end of the connection only once it has something to send.
    base = nginx_server.base(secure=False)

    async def main() -> None:
        asked, disconnected = asyncio.Event(), asyncio.Event()

        waiting = FastAPI(lifespan=lifespan)

        @waiting.get("/")
        async def wait_for_the_end(request: Request) -> None:
            asked.set()
            while not await request.is_disconnected():
                await asyncio.sleep(0)
            disconnected.set()

        async with (
            serve_in_loop(waiting, uds=str(nginx_server.upstream)),
            aiohttp.ClientSession(base) as session,
        ):
            asking = asyncio.create_task(session.get("/").__aenter__())
            await asyncio.wait_for(asked.wait(), 10)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(disconnected.wait(), 10)

    run(main)
