"""FastAPI under uvicorn, as a command and on the test's own loop, over TCP and TLS, with two clients."""

import asyncio
import hashlib
import json
import signal
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import uvicorn
import websockets

from . import http_clients
from .certificates import Certificates
from .http_clients import get_json, open_client
from .loop_under_test import FACTORY, is_loop_under_test, run
from .server_process import ServerProcess
from .service import app, payload
from .uvicorn_in_loop import serve_in_loop

MEBIBYTE = 1024 * 1024

Served = Callable[[], AbstractAsyncContextManager[str]]


def tls_options(certificates: Certificates) -> dict[str, str]:
    return {"ssl_certfile": str(certificates.server_file), "ssl_keyfile": str(certificates.server_key_file)}


def uvicorn_command(certificates: Certificates, *, secure: bool) -> list[str]:
    command = ["-m", "uvicorn", "service:app", "--loop", FACTORY, "--host", "127.0.0.1", "--port", "0"]
    if secure:
        for name, value in tls_options(certificates).items():
            command += [f"--{name.replace('_', '-')}", value]
    return command


def wait_for_base(server: ServerProcess) -> str:
    return server.wait_for(r"running on (https?://127\.0\.0\.1:\d+)")[1]


@pytest.fixture(scope="module")
def server_processes(certificates: Certificates) -> Iterator[dict[bool, str]]:
    """The base address of a service over TCP (False) and over TLS (True)."""
    with (
        ServerProcess(uvicorn_command(certificates, secure=False)) as plain,
        ServerProcess(uvicorn_command(certificates, secure=True)) as tls,
    ):
        yield {False: wait_for_base(plain), True: wait_for_base(tls)}


@pytest.fixture(params=["own process", "same loop"])
def served(
    request: pytest.FixtureRequest,
    secure: bool,
    certificates: Certificates,
    server_processes: dict[bool, str],
) -> Served:
    """Opens the service and gives its base address."""

    @asynccontextmanager
    async def own_process() -> AsyncIterator[str]:
        yield server_processes[secure]

    @asynccontextmanager
    async def same_loop() -> AsyncIterator[str]:
        options = tls_options(certificates) if secure else {}
        async with serve_in_loop(app, **options) as server:
            yield f"{'https' if secure else 'http'}://127.0.0.1:{server.port}"

    return own_process if request.param == "own process" else same_loop


@pytest.fixture
def tls(certificates: Certificates) -> ssl.SSLContext:
    return certificates.client_context()


@pytest.fixture(params=http_clients.NAMES)
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_service_runs_on_the_loop_under_test(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            answer = await get_json(client, "/loop")
            assert is_loop_under_test(answer["module"])
            assert answer["lifespan"] == "yes"

    run(main)


def test_each_of_500_concurrent_requests_gets_its_own_answer(
    served: Served, client_name: str, tls: ssl.SSLContext
) -> None:
    # httpx's pool takes time in proportion to requests times connections.
    connections = 500 if client_name == "aiohttp" else 50

    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls, connections=connections) as client:

            async def ask(number: int) -> None:
                answer = await get_json(client, f"/square/{number}", nonce=f"nonce of {number}")
                assert answer == {"number": number, "square": number**2, "nonce": f"nonce of {number}"}

            await asyncio.gather(*(ask(number) for number in range(500)))

    run(main, limit=30)


def test_routes_that_are_plain_functions_run_in_threads(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            answers = await asyncio.gather(*(get_json(client, f"/threaded/{number}") for number in range(50)))
            assert answers == [{"number": number, "double": number * 2} for number in range(50)]

    run(main)


def test_eight_mebibytes_go_up_and_come_down_intact(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            sent = payload(1, 8 * MEBIBYTE)
            answer = json.loads(await client.request("POST", "/upload", body=sent))
            assert answer == {"size": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}
            received = await client.request("GET", "/download", params={"seed": 2, "size": 8 * MEBIBYTE})
            assert hashlib.sha256(received).digest() == hashlib.sha256(payload(2, 8 * MEBIBYTE)).digest()

    run(main)


def test_a_streamed_response_arrives_whole_and_in_order(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            chunks = await client.chunks("/stream", params={"seed": 3, "chunks": 200, "size": 1000})
            assert b"".join(chunks) == payload(3, 200_000)
            assert len(chunks) > 1

    run(main)


def test_a_background_task_runs_after_its_response(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            key = uuid.uuid4().hex
            answer = json.loads(await client.request("POST", f"/background/{key}"))
            assert answer == {"finished": False}
            assert await get_json(client, f"/background/{key}") == {"finished": True}

    run(main)


def test_requests_one_after_another_reuse_one_connection(served: Served, client_name: str, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base, open_client(client_name, base, tls) as client:
            ports = {(await get_json(client, "/peer"))["port"] for _ in range(20)}
            assert len(ports) == 1

    run(main)


def test_a_websocket_route_echoes_to_a_websockets_client(served: Served, secure: bool, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with served() as base:
            address = base.replace("http", "ws", 1) + "/echo"
            async with websockets.connect(address, ssl=tls if secure else None, proxy=None) as socket:
                for message in ["text", "ünïcode", b"bytes", payload(4, 300_000)]:
                    await socket.send(message)
                    assert await socket.recv() == message
                await socket.send("close, please")
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as asked")

    run(main)


def test_a_websocket_route_echoes_to_fifty_aiohttp_clients(served: Served, tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with (
            served() as base,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        ):

            async def talk(number: int) -> None:
                async with session.ws_connect(f"{base}/echo") as socket:
                    for turn in range(10):
                        await socket.send_str(f"{number}, {turn}")
                        assert await socket.receive_str(timeout=20) == f"{number}, {turn}"

            await asyncio.gather(*(talk(number) for number in range(50)))

    run(main)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_lets_the_request_in_flight_finish(
    number: signal.Signals, secure: bool, certificates: Certificates, tls: ssl.SSLContext
) -> None:
    async def main(server: ServerProcess, base: str) -> None:
        port = int(base.rpartition(":")[2])
        context = tls if secure else None
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        # uvicorn answers 100 when the route asks for the body: the request is in flight.
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"half ")
        server.signal(number)
        await asyncio.to_thread(server.wait_for, "Waiting for connections to close")
        assert await idle_reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"whole")
        response = await reader.read()
        assert response.startswith(b"HTTP/1.1 200")
        assert hashlib.sha256(b"half whole").hexdigest().encode() in response
        for each in (idle_writer, writer):
            each.close()

    with ServerProcess(uvicorn_command(certificates, secure=secure)) as server:
        base = wait_for_base(server)
        opened = server.wait_for(r"lifespan: opened on (\S+)")[1]
        assert is_loop_under_test(opened)
        run(lambda: main(server, base))
        status = server.wait_ended()
        # After its shutdown uvicorn raises the signal again, for whoever started it.
        assert status in {0, -number}, server.output
        server.wait_for("lifespan: closed")
        server.wait_for("Finished server process")
        for word in ("Traceback", "ResourceWarning", "never retrieved", "was destroyed"):
            assert word not in server.output


def test_uvicorn_serves_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "service.sock")

    async def main() -> None:
        transport = httpx.AsyncHTTPTransport(uds=path)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            response = await client.get("/loop")
            assert is_loop_under_test(response.json()["module"])

    with ServerProcess(["-m", "uvicorn", "service:app", "--loop", FACTORY, "--uds", path]) as server:
        server.wait_for("running on unix socket")
        run(main)


def test_a_program_runs_uvicorn_with_a_loop_factory_in_a_thread(
    secure: bool, certificates: Certificates, tls: ssl.SSLContext
) -> None:
    listening = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets=sockets)  # type: ignore[arg-type]
            listening.set()

    options = tls_options(certificates) if secure else {}
    config = uvicorn.Config(app, loop=FACTORY, host="127.0.0.1", port=0, log_config=None, **options)
    server = Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert listening.wait(20)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http{'s' if secure else ''}://127.0.0.1:{port}", verify=tls) as client:
            assert is_loop_under_test(client.get("/loop").json()["module"])
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
