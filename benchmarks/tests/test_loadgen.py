"""The load generator against servers that echo rightly and wrongly."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.programs import LOADGEN_MANIFEST, Programs, cargo_target
from harness.sample import Server, running


def load(built: Programs, target: tuple[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(built.loadgen), *target, "--warmup", "0.02", "--seconds", "0.2", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@contextmanager
def served(handle: Callable[[list[socket.socket]], None], connections: int = 1) -> Iterator[tuple[str, str]]:
    """Accept so many connections in a thread, and let *handle* deal with them."""

    def run() -> None:
        accepted = [listener.accept()[0] for _ in range(connections)]
        try:
            handle(accepted)
        except OSError:
            pass  # the client has seen enough
        finally:
            for connection in accepted:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield ("--tcp", f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join(20)


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    return connection.recv(size, socket.MSG_WAITALL)


def test_every_message_to_an_honest_server_counts(built: Programs, c_server: Server) -> None:
    result = load(built, c_server.target, "--connections", "20", "--cpu-of", str(c_server.pid))
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["errors"] == 0
    assert figures["messages"] > 100
    assert figures["messages_per_s"] == pytest.approx(figures["messages"] / figures["seconds"], rel=1e-3)
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"] <= figures["max_us"]
    assert 0 < figures["server_cpu_s"] <= figures["seconds"] * 1.05
    assert 0 < figures["client_cpu_s"] <= figures["seconds"] * 1.05


@pytest.mark.parametrize(
    "options",
    [
        "--size 1",
        "--size 200000",
        "--size 100 --lines",
        "--size 4000000 --connections 2",
        "--size 64 --then 262144 --connections 3",
        "--size 10 --connections 1001",
    ],
)
def test_any_size_comes_back_whole(built: Programs, c_server: Server, options: str) -> None:
    result = load(built, c_server.target, *options.split())
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["errors"] == 0


def test_a_unix_socket_works_too(built: Programs, tmp_path: os.PathLike[str]) -> None:
    with running([str(built.c_echo), "--unix", os.path.join(tmp_path, "echo")]) as server:
        result = load(built, server.target)
    assert json.loads(result.stdout)["messages"] > 0


def test_one_changed_byte_is_a_hard_error(built: Programs) -> None:
    def corrupt(accepted: list[socket.socket]) -> None:
        for number in range(1_000_000):
            message = bytearray(receive_exactly(accepted[0], 1024))
            if number == 50:
                message[700] ^= 1
            accepted[0].sendall(message)

    with served(corrupt) as target:
        result = load(built, target, "--connections", "1")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "byte that was not sent: connection 0, message 50, byte 700" in result.stderr


def test_a_byte_of_another_connection_is_named(built: Programs) -> None:
    def swap(accepted: list[socket.socket]) -> None:
        first, second = (receive_exactly(connection, 1024) for connection in accepted)
        accepted[0].sendall(first[:512] + second[512:])
        accepted[0].recv(1)

    with served(swap, connections=2) as target:
        result = load(built, target, "--connections", "2")
    assert result.returncode == 2
    assert (
        "byte from another connection: connection 0, message 0, byte 512 is message 0 of connection 1" in result.stderr
    )


def test_a_byte_too_many_is_a_hard_error(built: Programs) -> None:
    def repeat_last(accepted: list[socket.socket]) -> None:
        message = receive_exactly(accepted[0], 64)
        accepted[0].sendall(message + message[-1:])
        accepted[0].recv(1)

    with served(repeat_last) as target:
        result = load(built, target, "--connections", "1", "--size", "64")
    assert result.returncode == 2
    assert "byte 64" in result.stderr


def test_a_lost_connection_is_counted(built: Programs) -> None:
    def drop_one(accepted: list[socket.socket]) -> None:
        accepted[1].close()
        while message := receive_exactly(accepted[0], 1024):
            accepted[0].sendall(message)

    with served(drop_one, connections=2) as target:
        result = load(built, target, "--connections", "2")
    figures = json.loads(result.stdout)
    assert figures["errors"] == 1
    assert figures["messages"] > 0


def test_percentiles_show_the_replies_that_were_late(built: Programs) -> None:
    late_s = 0.02

    def delay_every_fifth(accepted: list[socket.socket]) -> None:
        number = 0
        while message := receive_exactly(accepted[0], 1024):
            number += 1
            if number % 5 == 0:
                time.sleep(late_s)
            accepted[0].sendall(message)

    with served(delay_every_fifth) as target:
        figures = json.loads(load(built, target, "--connections", "1").stdout)
    assert figures["p50_us"] < late_s * 1e6
    assert late_s * 1e6 <= figures["p99_us"] <= figures["max_us"] < 1e6


def test_a_server_that_is_not_there_is_a_plain_failure(built: Programs) -> None:
    result = load(built, ("--tcp", "127.0.0.1:1"))
    assert result.returncode == 1
    assert "connecting" in result.stderr


def test_its_own_tests_pass() -> None:
    """Histogram, payload and CPU clock, in Rust."""
    command = ["cargo", "test", "--quiet", "--release", "--locked", "--manifest-path", str(LOADGEN_MANIFEST)]
    result = subprocess.run(
        [*command, "--target-dir", str(cargo_target())],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def answer_requests(connection: socket.socket, answer: Callable[[bytes], bytes]) -> None:
    """Answer each GET with what *answer* makes of the token in its path."""
    while request := connection.recv(4096):
        assert request.endswith(b"\r\n\r\n")
        path = request.split(b" ")[1]
        connection.sendall(answer(path.rsplit(b"/", 1)[1]))


def http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_answers_that_hold_their_token_count(built: Programs) -> None:
    with served(
        lambda accepted: answer_requests(accepted[0], lambda token: http(b'{"token": "%b"}' % token))
    ) as target:
        result = load(built, target, "--http", "/item/", "--connections", "1")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["errors"] == 0
    assert figures["messages"] > 10


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda _: http(b"c7m0"), "is not the answer to this request"),
        (lambda _: b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "is not a 200"),
        (lambda token: http(token) + b"more", "is followed by bytes that nobody asked for"),
    ],
)
def test_a_wrong_answer_ends_the_run(built: Programs, answer: Callable[[bytes], bytes], complaint: str) -> None:
    with served(lambda accepted: answer_requests(accepted[0], answer)) as target:
        result = load(built, target, "--http", "/item/", "--connections", "1")
    assert result.returncode == 2
    assert complaint in result.stderr
