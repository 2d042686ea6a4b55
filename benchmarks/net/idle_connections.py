"""What an idle connection costs the server that holds it: memory, and CPU time while nothing happens.

    python benchmarks/net/idle_connections.py --loop uvloop [--connections 10000] [--seconds 1] [--core 0]
                                              [--tls | --half-open]

Prints one line of JSON: ``rss_bytes`` (resident memory) and ``blocks`` (of Python's allocator) for each
connection, ``threads`` that the process has more than before the first of them, and ``idle_cpu_us_per_s``, the CPU time
of the whole process in one second with all of them open. With ``--half-open`` the clients begin a handshake of TLS and
never go on.

The server is a plain ``asyncio.Protocol`` that keeps its transport. The clients are sockets of a process of
their own. A first set of connections is opened and closed before anything is measured, so that what a loop
allocates once is not counted.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import loops
from micro.echoes import tls_contexts

LIMIT_S = 60.0

#: Opens as many connections as the line it reads says, answers when all are there; an empty line closes them.
#: Over TLS each connection has had an answer of the server's, so both sides have ended the handshake. One that is half
#: open has sent its first message but for the last byte.
CLIENT = """
import socket, ssl, sys
port = int(sys.argv[1])
beginning = ssl.MemoryBIO()
try:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), beginning, server_hostname="a").do_handshake()
except ssl.SSLWantReadError:
    beginning = beginning.read()[:-1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if sys.argv[2] == "tls" else None
if context is not None:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
held = []
for line in sys.stdin:
    for _ in range(int(line)):
        sock = socket.create_connection(("127.0.0.1", port))
        if context is not None:
            sock = context.wrap_socket(sock)
            sock.send(b"x")
            sock.recv(1)
        if sys.argv[2] == "half-open":
            sock.sendall(beginning)
        held.append(sock)
    if not int(line):
        for sock in held:
            sock.close()
        held.clear()
    print("done", flush=True)
"""


class Idle(asyncio.Protocol):
    """Keeps its transport, and writes back what arrives."""

    __slots__ = ("transport",)

    transport: asyncio.Transport
    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a stream transport, as create_server promises
        Idle.open += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del self.transport
        Idle.open -= 1


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


class Clients:
    """The process at the other end."""

    def __init__(self, port: int, kind: str) -> None:
        command = [sys.executable, "-c", CLIENT, str(port), kind]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.are_half_open = kind == "half-open"
        self.descriptors = descriptors()

    def open(self) -> int:
        """Connections that the server holds. A protocol is not told of one that is half open."""
        return descriptors() - self.descriptors if self.are_half_open else Idle.open

    async def hold(self, more: int) -> None:
        """Open *more* connections, or with 0 close all; the server has seen them when this returns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        wanted = self.open() + more if more else 0
        self.process.stdin.write(f"{more}\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + LIMIT_S
        while self.open() != wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.open()} connections are open, not {wanted}")
            await asyncio.sleep(0.02)
        # What the last of them has sent.
        await asyncio.sleep(0.1)

    def end(self) -> None:
        self.process.communicate()


async def measure(connections: int, seconds: float, kind: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    context = None if kind == "plain" else tls_contexts()[0]
    server = await loop.create_server(Idle, "127.0.0.1", 0, family=socket.AF_INET, backlog=1024, ssl=context)
    running = threads()
    clients = Clients(server.sockets[0].getsockname()[1], kind)
    try:
        await clients.hold(min(200, connections))
        await clients.hold(0)
        gc.collect()
        rss, blocks = resident_bytes(), sys.getallocatedblocks()
        for _ in range(0, connections, 500):
            await clients.hold(500)
        gc.collect()
        held, more_threads = clients.open(), threads() - running
        grown_rss, grown_blocks = resident_bytes() - rss, sys.getallocatedblocks() - blocks
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        idle = (time.process_time() - cpu) / seconds
        await clients.hold(0)
    finally:
        clients.end()
        server.close()
    figures = {"rss_bytes": grown_rss / held, "blocks": grown_blocks / held, "idle_cpu_us_per_s": idle * 1e6}
    return {**figures, "threads": more_threads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, choices=[*loops.NAMES, loops.AIOFASTNET])
    parser.add_argument("--connections", type=int, default=10_000, help="a multiple of 500 (10,000)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of the idle time (1)")
    parser.add_argument("--core", type=int, help="run on this CPU only")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--tls", dest="kind", action="store_const", const="tls", help="the connections speak TLS")
    kinds.add_argument(
        "--half-open", dest="kind", action="store_const", const="half-open", help="handshakes that never go on"
    )
    parser.set_defaults(kind="plain")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(options.loop)) as runner:
        figures = runner.run(measure(options.connections, options.seconds, options.kind))
    print(json.dumps({"loop": options.loop, "connections": options.connections, **figures}))


if __name__ == "__main__":
    main()
