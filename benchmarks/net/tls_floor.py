"""What OpenSSL and Python's ``_ssl`` take by themselves: no loop with this interpreter gets below it.

    python benchmarks/net/tls_floor.py [--connections 1000] [--core 0]

Prints one line of JSON: ``rss_bytes`` for each connection (the server's TLS object with its two ``MemoryBIO``s, after a
handshake and an echo of one byte), ``half_open_rss_bytes`` for one that has all but the last byte of a client's first
message, ``handshake_cpu_us`` for the server's half of a full handshake, and ``echo_cpu_us`` for reading and writing
1 KiB. There is no socket and no loop in it; a client's half in the same process is not counted.
"""

import argparse
import contextlib
import gc
import json
import os
import resource
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from micro.echoes import tls_contexts

#: Connections that are made before anything is measured.
FIRST = 200
ECHOES = 2_000
MESSAGE = b"x" * 1024


class Pair:
    """A server's and a client's TLS object over memory, and the CPU time of the server's steps."""

    def __init__(self) -> None:
        server, client = tls_contexts()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.from_server, self.to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.from_server, self.to_server)
        begin = time.process_time_ns()
        self.server = server.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.handshake_ns = time.process_time_ns() - begin
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.incoming.write(self.to_server.read())
            begin = time.process_time_ns()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.do_handshake()
            self.handshake_ns += time.process_time_ns() - begin
            self.from_server.write(self.outgoing.read())

    def echo(self, message: bytes) -> int:
        """Nanoseconds of CPU time for the server's part."""
        self.client.write(message)
        data = self.to_server.read()
        begin = time.process_time_ns()
        self.incoming.write(data)
        self.server.write(self.server.read(len(message)))
        answer = self.outgoing.read()
        elapsed = time.process_time_ns() - begin
        self.from_server.write(answer)
        if self.client.read(len(message)) != message:
            raise RuntimeError("the answer is not the message")
        return elapsed


def half_open(beginning: bytes) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A server's TLS object that has read *beginning*."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls_contexts()[0].wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(beginning)
    with contextlib.suppress(ssl.SSLWantReadError):
        server.do_handshake()
    return server, incoming, outgoing


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        tls_contexts()[1].wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(connections: int) -> dict[str, float]:
    def made(count: int) -> tuple[list[tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]], int]:
        """The server's halves, and nanoseconds of CPU time for their handshakes."""
        halves, spent_ns = [], 0
        for _ in range(count):
            pair = Pair()
            pair.echo(b"x")
            spent_ns += pair.handshake_ns
            halves.append((pair.server, pair.incoming, pair.outgoing))
        gc.collect()
        return halves, spent_ns

    # Kept, so that none of the memory that is measured was somebody's before.
    first = made(FIRST)
    before = resident_bytes()
    held, spent_ns = made(connections)
    grown = resident_bytes() - before
    beginning = client_hello()[:-1]
    few = [half_open(beginning) for _ in range(FIRST)]
    before = resident_bytes()
    many = [half_open(beginning) for _ in range(connections)]
    half_open_grown = resident_bytes() - before
    del first, few
    pair = Pair()
    echoes_ns = sum(pair.echo(MESSAGE) for _ in range(ECHOES))
    return {
        "rss_bytes": grown / len(held),
        "half_open_rss_bytes": half_open_grown / len(many),
        "handshake_cpu_us": spent_ns / connections / 1e3,
        "echo_cpu_us": echoes_ns / ECHOES / 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--core", type=int, help="run on this CPU only")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    print(json.dumps({"openssl": ssl.OPENSSL_VERSION, **measure(options.connections)}))


if __name__ == "__main__":
    main()
