"""Servers of three kinds on one loop, and peers that break off at every point; the servers must not notice.

    python tests/stress/hostile_peers.py --seconds 600

A streams server, a protocol server and a TLS server answer lines of text. Their peers are plain blocking sockets in
threads: each sends some bytes of a conversation, or garbage, and then resets, half-closes, stops reading, or cuts a TLS
record short: after any number of bytes, in the handshake, in the middle of the answer, while the server's `write_eof`
is pending. In between, good clients must have their answers.

Afterwards descriptors, tasks, objects and memory are what they were after a warm-up, and nothing was raised out of the
loop or into its exception handler. The exit status is 1 otherwise. Memory that is kept for its next use is no leak, and
grows for as long as chance brings a new number of peers together: the loop's free lists are filled before the first
count, and the C library runs without caches of a thread's own, whose content counts as in use.

With ``FERRIO_TEST_LOOP=asyncio`` the loop is the standard library's, as a control.
"""

import argparse
import asyncio
import contextlib
import os
import random
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from soaking.remains import growth, print_table, snapshot  # noqa: E402 (found by the line above)

from frameworks.certificates import Certificates, make_certificates  # noqa: E402 (the same)

#: What a request asks for: so many bytes, more than the buffers of both ends hold.
SIZES = [1, 1000, 100_000, 4_000_000]
#: Peers wait no longer than this for anything.
PATIENCE_S = 5.0
SETTLE_LIMIT_S = 10.0
ENDINGS = ["reset", "close", "half-close", "unread", "reset in the answer", "reset after the answer", "busy"]
RESET = b"\1\0\0\0\0\0\0\0"
#: How the C library keeps no memory for a thread's next use.
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"
#: More than a free list of the loop's or the interpreter's keeps.
KEPT = 2500


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The streams server: for each line with a number, so many bytes."""
    try:
        while line := await reader.readline():
            writer.write(b"x" * int(line))
            if not writer.transport.can_write_eof():
                await writer.drain()
                continue
            # The end is pending while the answer is.
            writer.write_eof()
            await writer.drain()
            await reader.read()
            break
    except (OSError, ValueError, ssl.SSLError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


class Answering(asyncio.Protocol):
    """The protocol server: the same without streams, closing with the answer still in its buffer."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if len(self.received) > 1000:
            self.transport.abort()
        elif b"\n" in self.received:
            number = self.received.partition(b"\n")[0]
            if number.isdigit():
                self.transport.write(b"x" * int(number))
                self.transport.write_eof()
            self.transport.close()


class Peers:
    """What the peers do; each method runs in a thread and returns what happened."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, addresses: dict[str, tuple[str, int]], certificates: Certificates
    ) -> None:
        self.loop = loop
        self.addresses = addresses
        self.context = certificates.client_context()
        self.hello = self.record_hello()

    def record_hello(self) -> bytes:
        """The first bytes of a TLS client."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()

    def behave(self, kind: str) -> None:
        """A good client: its answer must be whole."""
        size = 10_000
        with socket.create_connection(self.addresses[kind], PATIENCE_S) as plain:
            sock = self.context.wrap_socket(plain, server_hostname="localhost") if kind == "tls" else plain
            sock.settimeout(PATIENCE_S)
            sock.sendall(b"%d\n" % size)
            received = 0
            while received < size and (data := sock.recv(65536)):
                received += len(data)
            if received != size:
                raise AssertionError(f"{kind}: {received} of {size} bytes")
            if kind == "tls":
                sock.close()

    def misbehave(self, kind: str, chance: random.Random) -> str:
        """A hostile one; returns the name of what it did."""
        ending = chance.choice(ENDINGS)
        size = chance.choice(SIZES)
        request = b"%d\n" % size
        with socket.socket() as sock:
            sock.settimeout(PATIENCE_S)
            if chance.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(self.addresses[kind])
            # A peer's end that comes too early for its own next step is what this is about.
            what = "a connection that ended early"
            with contextlib.suppress(OSError):
                what = self.say(kind, sock, request, chance)
                sock.settimeout(0.05)
                self.end(sock, ending, size, chance)
        return f"{kind}: {what}, {ending}"

    def say(self, kind: str, sock: socket.socket, request: bytes, chance: random.Random) -> str:
        if chance.random() < 0.2:
            sock.sendall(chance.randbytes(chance.randrange(1, 3000)))
            return "garbage"
        if kind != "tls":
            count = chance.randrange(len(request) + 1) if chance.random() < 0.4 else len(request)
            sock.sendall(request[:count])
            return "a request" if count == len(request) else "a part of a request"
        if chance.random() < 0.4:
            sock.sendall(self.hello[: chance.randrange(len(self.hello) + 1)])
            return "a part of a handshake"
        return self.say_in_tls(sock, request, chance)

    def say_in_tls(self, sock: socket.socket, request: bytes, chance: random.Random) -> str:
        """Shake hands by hand, so that any byte can be the last."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                if data and chance.random() < 0.1:
                    sock.sendall(data[: chance.randrange(len(data))])
                    return "a handshake that ends in its middle"
                sock.sendall(data)
                received = sock.recv(65536)
                if not received:
                    return "a handshake that the server ended"
                incoming.write(received)
        client.write(request)
        data = outgoing.read()
        change = chance.random()
        if change < 0.3:
            sock.sendall(data[: chance.randrange(len(data))])
            return "a record cut short"
        if change < 0.5:
            broken = bytearray(data)
            broken[chance.randrange(len(broken))] ^= 0xFF
            sock.sendall(broken)
            return "a record that was changed"
        sock.sendall(data)
        return "a request"

    def end(self, sock: socket.socket, ending: str, size: int, chance: random.Random) -> None:
        if ending == "half-close":
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        elif ending == "unread":
            # The server's buffers fill, and its answer waits.
            time.sleep(0.02)
        elif ending == "reset in the answer":
            sock.recv(chance.randrange(1, 5000))
        elif ending == "reset after the answer":
            # The server's end goes out as its last bytes have left, which is now.
            received = 0
            while received < size and (data := sock.recv(1 << 20)):
                received += len(data)
        elif ending == "busy":
            # What the server's next send fills is accepted, and answered by a reset before the server's end.
            sock.settimeout(0.02)
            sock.recv(1)
            self.loop.call_soon_threadsafe(time.sleep, 0.03)
            with contextlib.suppress(TimeoutError):
                while sock.recv(1 << 20):
                    pass
            return
        if ending.startswith("reset") or chance.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def soak(
    peers: Peers, seconds: float, connections: int, seed: str, counts: Counter[str], failures: list[str]
) -> int:
    """Let peers do what they do for *seconds*, or *connections* of them; returns how many there were."""
    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + seconds
    stop = threading.Event()
    done = [0] * 6

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        while not stop.is_set() and time.monotonic() < deadline and done[number] < connections / len(done):
            kind = chance.choice(["streams", "protocol", "tls"])
            try:
                if done[number] % 10 == 9:
                    peers.behave(kind)
                else:
                    counts[peers.misbehave(kind, chance)] += 1
            except (OSError, AssertionError) as error:
                failures.append(f"a {kind} peer: {error!r}")
            done[number] += 1

    threads = [loop.run_in_executor(None, work, number) for number in range(len(done))]
    try:
        await asyncio.gather(*threads)
    finally:
        stop.set()
    return sum(done)


async def fill_free_lists() -> None:
    """Have as many handles, futures and tasks end at once as are kept at the most."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(KEPT)]
    tasks = [loop.create_task(asyncio.wait_for(future, 1000)) for future in futures]
    await asyncio.sleep(0)
    for future in futures:
        loop.call_soon(future.set_result, None)
        loop.call_soon_threadsafe(int)
    await asyncio.gather(*tasks)


async def settle(tasks: int) -> None:
    """Wait until every connection has ended, and every task but *tasks*."""
    limit = time.monotonic() + SETTLE_LIMIT_S
    while len(asyncio.all_tasks()) > tasks and time.monotonic() < limit:
        await asyncio.sleep(0.05)
    for _ in range(5):
        await asyncio.sleep(0.01)


async def main(arguments: argparse.Namespace, folder: Path) -> int:
    loop = asyncio.get_running_loop()
    counts: Counter[str] = Counter()
    failures: list[str] = []

    def on_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio reports what a peer's TLS breaks; that is no fault of the server's.
        error = context.get("exception")
        if isinstance(error, (ssl.SSLError, OSError)):
            counts[f"reported: {context['message']}: {type(error).__name__}"] += 1
        else:
            failures.append(f"exception handler: {context['message']}: {error!r}")

    loop.set_exception_handler(on_unhandled)
    certificates = make_certificates(folder)
    context = certificates.server_context()
    servers = {
        "streams": await asyncio.start_server(answer, "127.0.0.1", 0, backlog=500),
        "protocol": await loop.create_server(Answering, "127.0.0.1", 0, backlog=500),
        "tls": await asyncio.start_server(answer, "127.0.0.1", 0, backlog=500, ssl=context, ssl_handshake_timeout=5),
    }
    peers = Peers(loop, {kind: server.sockets[0].getsockname() for kind, server in servers.items()}, certificates)
    tasks = len(asyncio.all_tasks())
    await soak(peers, arguments.seconds, arguments.warm_up, f"{arguments.seed} warm-up", counts, failures)
    await fill_free_lists()
    await settle(tasks)
    before = snapshot()
    started = time.monotonic()
    done = await soak(peers, arguments.seconds, arguments.connections, str(arguments.seed), counts, failures)
    await settle(tasks)
    after = snapshot()
    for kind in servers:
        try:
            await asyncio.to_thread(peers.behave, kind)
        except (OSError, AssertionError) as error:
            failures.append(f"the {kind} server after all: {error!r}")
    for server in servers.values():
        server.close()
        await server.wait_closed()

    print_table(before, after)
    print("\nwhat peers did:")
    for name, count in sorted(counts.items()):
        print(f"  {count:8,}  {name}")
    grown = growth(before, after)
    for failure in failures[:20]:
        print(f"FAILED {failure}")
    for name, by in grown.items():
        print(f"FAILED {name} grew by {by:,}")
    failed = bool(grown or failures)
    seconds = time.monotonic() - started
    print(
        f"\n{'FAILED' if failed else 'ok'}: {done:,} peers in {seconds:.0f} s, {arguments.loop}, seed {arguments.seed}"
    )
    return int(failed)


def new_event_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "asyncio":
        return asyncio.new_event_loop()
    import ferrio

    return ferrio.new_event_loop()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=10**9)
    parser.add_argument("--warm-up", type=int, default=600, help="connections before the first count")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parsed = parser.parse_args(arguments)
    parsed.loop = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
    return parsed


if __name__ == "__main__":
    arguments = parse(sys.argv[1:])
    if os.environ.get("GLIBC_TUNABLES") != TUNABLES:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": TUNABLES})
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=lambda: new_event_loop(arguments.loop)) as runner,
    ):
        sys.exit(runner.run(main(arguments, Path(folder))))
