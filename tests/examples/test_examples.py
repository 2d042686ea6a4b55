"""Every program of ``examples/`` that serves or works does so on Ferrio, and ends as it says."""

import asyncio
import collections
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT_S = 60.0


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "ferrio", str(EXAMPLES / name), *map(str, arguments)]


class Service:
    """An example that serves, from the line in which it says where."""

    def __init__(self, name: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line + self.process.communicate(timeout=LIMIT_S)[1]
        self.port = int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, number: int = signal.SIGINT, status: int = 0) -> str:
        """Send the signal; the program ends with *status*, and has nothing to complain of. Returns what it printed."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=LIMIT_S)
        assert (self.process.returncode, errors) == (status, "")
        return output


@contextlib.contextmanager
def serving(name: str, *arguments: object) -> Iterator[Service]:
    service = Service(name, *arguments)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


def run(name: str, *arguments: object, given: str = "", status: int = 0) -> str:
    ran = subprocess.run(
        command(name, *arguments), input=given, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ran.returncode == status, ran.stderr
    return ran.stdout


class Pages(BaseHTTPRequestHandler):
    """Pages that name themselves. Of those under /moody, the first request fails; there is none under /absent."""

    seen: collections.Counter[str]

    def do_GET(self) -> None:
        self.seen[self.path] += 1
        moody = self.path.startswith("/moody") and self.seen[self.path] == 1
        self.send_response(404 if self.path == "/absent" else 503 if moody else 200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, collections.Counter[str]]]:
    handler = type("Handler", (Pages,), {"seen": collections.Counter[str]()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen
        finally:
            server.shutdown()
            thread.join()


def test_what_one_client_of_the_chat_says_the_others_hear(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(certificate, key)
    context = ssl.create_default_context(cafile=certificate)
    with serving("tls_chat.py", "--port", 0, "--certificate", certificate, "--key", key) as chat:
        with contextlib.ExitStack() as clients:
            first, second = (
                clients.enter_context(context.wrap_socket(chat.connect(), server_hostname="localhost")) for _ in "12"
            )
            heard = clients.enter_context(first.makefile())
            name = ":".join(map(str, second.getsockname()))
            # The second's handshake may be over before the server's task for it has run.
            assert heard.readline() == f"{name}: has come\n"
            second.sendall("Grüße\n".encode())
            assert heard.readline() == f"{name}: Grüße\n"
            second.close()
            assert heard.readline() == f"{name}: has gone\n"
        chat.end()


def make_certificate(certificate: Path, key: Path) -> None:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, False, False, False),
            critical=True,
        )
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def asked(service: Service, request: bytes) -> bytes:
    with service.connect() as client, client.makefile("rb") as answer:
        client.sendall(request)
        return answer.read()


def test_the_proxy_passes_requests_and_tunnels_on(site: tuple[str, collections.Counter[str]]) -> None:
    address, seen = site
    host = address.removeprefix("http://")
    with serving("http_proxy.py", "--port", 0) as proxy:
        plain = asked(proxy, f"GET {address}/page?a=b HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert plain.startswith(b"HTTP/1.0 200 OK\r\n")
        assert plain.endswith(b"/page?a=b")
        with proxy.connect() as tunnel, tunnel.makefile("rb") as answer:
            tunnel.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.readline() == b"HTTP/1.1 200 Connection established\r\n"
            tunnel.sendall(b"GET /within HTTP/1.0\r\n\r\n")
            assert answer.read().endswith(b"/within")
        assert seen == {"/page?a=b": 1, "/within": 1}
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            gone = f"CONNECT 127.0.0.1:{nobody.getsockname()[1]} HTTP/1.1\r\n\r\n"
            assert asked(proxy, gone.encode()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert asked(proxy, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\n")
        proxy.end()


def test_the_scraper_tries_again_and_says_what_it_could_not_fetch(
    site: tuple[str, collections.Counter[str]], tmp_path: Path
) -> None:
    address, seen = site
    paths = [*(f"/{number}" for number in range(20)), *(f"/moody/{number}" for number in range(5)), "/absent"]
    urls, into = tmp_path / "urls.txt", tmp_path / "pages"
    urls.write_text("\n".join(address + path for path in paths))
    output = run("polite_scraper.py", urls, "--into", into, "--rate", 500, status=1)
    assert re.fullmatch(rf"{address}/absent: ClientResponseError\(.*status=404.*\)\n", output)
    assert {page.read_text() for page in into.iterdir()} == {*paths} - {"/absent"}
    assert seen == {path: 2 if path.startswith("/moody") else 1 for path in paths}


async def test_what_one_websocket_publishes_all_subscribers_receive() -> None:
    from websockets.asyncio.client import connect

    with serving("websocket_fanout.py", "--port", 0) as fanout:
        channel = f"ws://127.0.0.1:{fanout.port}/prices"
        async with asyncio.timeout(LIMIT_S), contextlib.AsyncExitStack() as stack:
            subscribers = [await stack.enter_async_context(connect(channel)) for _ in range(20)]
            other = await stack.enter_async_context(connect(channel + "/other"))
            publisher = await stack.enter_async_context(connect(channel + "/publish"))
            # A subscriber is one from the server's next step on.
            received = ""
            while received != "20":
                await publisher.send("1.25")
                received = await publisher.recv()
            await publisher.send("the last")
            assert await publisher.recv() == "20"
            for subscriber in subscribers:
                messages = [await subscriber.recv()]
                while messages[-1] != "the last":
                    messages.append(await subscriber.recv())
                assert {*messages[:-1]} == {"1.25"}
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await other.recv()
        fanout.end(signal.SIGTERM)


def test_workers_do_each_job_once_and_a_failing_one_three_times(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.db"
    works = [*(f"echo {number}" for number in range(10)), "exit 3"]
    run("database_workers.py", jobs, *(part for work in works for part in ("--add", work)))
    output = run("database_workers.py", jobs, "--workers", 3)
    with contextlib.closing(sqlite3.connect(jobs)) as database:
        rows = database.execute("select work, tries, result from jobs order by id").fetchall()
    assert rows == [*((f"echo {number}", 1, str(number)) for number in range(10)), ("exit 3", 3, None)]
    assert len(output.splitlines()) == 13


def test_a_pipeline_counts_words_and_ends_with_the_status_of_what_fails() -> None:
    words = run("pipeline.py", "tr -cs a-z '\\n'", "sort", "uniq -c", "sort -rn", given="to be or not to be\n")
    assert words.split() == ["2", "to", "2", "be", "1", "or", "1", "not"]
    assert run("pipeline.py", "cat", "sh -c 'exit 7'", "cat", status=7) == ""
    assert run("pipeline.py", "yes", "head -n 2") == "y\ny\n"
    assert run("pipeline.py", "sleep 1000", "cat", "--seconds", 0.1, status=124) == ""
    assert run("pipeline.py", "cat", "there-is-no-such-program", status=127) == ""


def test_the_udp_service_keeps_what_it_is_told_and_answers_no_nonsense() -> None:
    with serving("udp_service.py", "serve", "--port", 0) as service:
        there = ("--port", service.port)
        assert run("udp_service.py", "get", "colour", *there) == "None\n"
        assert run("udp_service.py", "set", "colour", "blue", *there) == "blue\n"
        assert run("udp_service.py", "get", "colour", *there) == "blue\n"
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT_S)
            for datagram in (b"", b"nonsense", b"[]", b'{"number": 1}', b'{"number": 2, "name": "colour"}'):
                client.sendto(datagram, ("127.0.0.1", service.port))
            assert json.loads(client.recv(1000)) == {"number": 2, "value": "blue"}
        service.end()
    assert run("udp_service.py", "get", "colour", *there, status=1) == ""


@pytest.mark.parametrize("is_late", [False, True], ids=["in-time", "too-late"])
def test_a_request_in_flight_is_finished_or_cancelled_when_the_service_stops(is_late: bool) -> None:
    with serving("graceful_shutdown.py", "--port", 0, "--grace", 0 if is_late else LIMIT_S) as service:
        with contextlib.ExitStack() as clients:
            busy, idle = (clients.enter_context(service.connect()) for _ in "12")
            answers = [clients.enter_context(client.makefile()) for client in (busy, idle)]
            # Both are served before the signal comes.
            for client, answer in zip((busy, idle), answers, strict=True):
                client.sendall(b"0\n")
                assert answer.readline() == "slept for 0 s\n"
            busy.sendall(b"1000\n" if is_late else b"0.5\n")
            service.process.send_signal(signal.SIGTERM)
            if is_late:
                assert answers[0].read() == "out of time\n"
            else:
                # The request may not have arrived before the signal.
                assert answers[0].read() in ("slept for 0.5 s\ngoodbye\n", "goodbye\n")
                assert answers[1].read() == "goodbye\n"
        output, errors = service.process.communicate(timeout=LIMIT_S)
        assert (service.process.returncode, output, errors) == (int(is_late), "", "")


def test_a_dask_cluster_on_ferrio_answers_questions_about_logs(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    # More blocks than workers.
    output = run("dask_cluster.py", folder, "--sample", 9)
    (folder / "another.log").write_text("no line of a web server\n" * 3)
    again = run("dask_cluster.py", folder)
    statuses, sizes = collections.Counter[str](), collections.Counter[str]()
    for log in folder.glob("sample-*.log"):
        for line in log.read_text().splitlines():
            path, _, status, size = line.split('"', 1)[1].removeprefix("GET ").split()
            statuses[status] += 1
            sizes[path] += int(size)
    answers = [f"  {what}: {number:,}" for counted in (statuses, sizes) for what, number in counted.most_common(5)]
    for lines in (output.splitlines(), again.splitlines()):
        assert lines[0] == "scheduler on ferrio, workers on ferrio, ferrio"
        assert [line for line in lines if line.startswith("  ")] == answers
    assert f"wrote {statuses.total():,} lines" in output
    assert run("dask_cluster.py", tmp_path, status=1) == ""


def test_many_processes_share_a_port_and_a_dead_one_is_replaced() -> None:
    with serving("many_processes.py", "--port", 0, "--processes", 2) as service:
        first = {int(service.line().split()[1]) for _ in range(2)}
        asked_pids: set[int] = set()
        while asked_pids != first:
            with service.connect() as client, client.makefile() as answer:
                client.sendall(b"hello\n")
                pid, text = answer.readline().split()
            assert text == "hello"
            asked_pids.add(int(pid))
        victim = first.pop()
        os.kill(victim, signal.SIGKILL)
        assert service.line() == f"process {victim} ended with -9\n"
        new = int(service.line().split()[1])
        assert new not in {victim, *first}
        service.end(signal.SIGTERM)
        for pid in (new, *first):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
