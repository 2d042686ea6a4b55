"""A server that runs out of descriptors says so, waits without spinning, and serves again when it can."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .loops_compared import NAME

PROGRAM = Path(__file__).with_name("accept_until_full.py")
LIMIT_S = 15.0
#: More than the server has descriptors, fewer than its backlog.
CLIENTS = 60
#: How long CPU time is measured while the server is full; asyncio tries again once a second.
WATCHED_S = 1.5


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def next_line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n").split("|")


def test_a_full_server_backs_off_and_recovers(server: subprocess.Popen[str]) -> None:
    word, port = next_line(server)
    assert word == "port"
    address = ("127.0.0.1", int(port))
    with ExitStack() as open_connections:
        for _ in range(CLIENTS):
            open_connections.enter_context(socket.create_connection(address, LIMIT_S))
        assert next_line(server) == [
            "report",
            str(errno.EMFILE),
            "['exception', 'message', 'socket']",
            "socket.accept() out of system resource",
        ]
        before = cpu_seconds(server)
        time.sleep(WATCHED_S)
        spent = cpu_seconds(server) - before
        assert spent < 0.2 * WATCHED_S, f"{spent} s of CPU in {WATCHED_S} s of waiting"
    deadline = time.monotonic() + LIMIT_S
    with socket.create_connection(address, LIMIT_S) as connection:
        connection.sendall(b"served again")
        assert connection.recv(100) == b"served again"
    assert time.monotonic() < deadline
    output, _ = server.communicate(timeout=LIMIT_S)
    assert server.returncode == 0
    reports = [line for line in output.splitlines() if line.startswith("report|")]
    assert all("out of system resource" in line for line in reports)
    # One report for each attempt, about one attempt a second; asyncio reports for each place in its backlog.
    assert len(reports) <= (1000 if NAME == "asyncio" else 5)
