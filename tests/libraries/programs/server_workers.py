"""granian's, hypercorn's and uvicorn's workers, and uvicorn's reloader, run on the loop of who started them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import loop_under_test

HERE = Path(__file__).parent
LIMIT_S = 25.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answer(port: int, process: subprocess.Popen[bytes]) -> list[str]:
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                text: str = response.read().decode()
                return text.split()
        except OSError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < end, "no answer"
            time.sleep(0.05)


def check(*arguments: str) -> None:
    port = free_port()
    command = loop_under_test.command(*(argument.format(port=port) for argument in arguments))
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=sys.stderr, start_new_session=True)
    try:
        module, worker = answer(port, process)
        assert module.partition(".")[0] == loop_under_test.NAME, f"{arguments[1]}: {module}"
        assert int(worker) != process.pid, "this worker is no child"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


check("-m", "granian", "--interface", "asgi", "--loop", "asyncio", "--port", "{port}", "answering:app")
check("-m", "hypercorn", "--workers", "1", "--bind", "127.0.0.1:{port}", "answering:app")
check("-m", "uvicorn", "--loop", "asyncio", "--workers", "2", "--port", "{port}", "answering:app")
check("-m", "uvicorn", "--loop", "asyncio", "--reload", "--port", "{port}", "answering:app")
assert asyncio
