"""Sockets that became blocking behind the loop's back: it does not wait for them while no other thread can run.

Each test runs in a child, which is ended when it hangs.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from .children import in_child
from .loops import ferrio_only, new_loop, run, run_until, turn
from .socket_pairs import tcp_pair

MIB = 1 << 20
PAIRS = {"unix": socket.socketpair, "tcp": tcp_pair}
CHUNKS: dict[str, Callable[[bytes], Any]] = {"bytes": bytes, "a buffer": bytearray}

pytestmark = ferrio_only


def heartbeat() -> tuple[list[float], threading.Event]:
    """A thread that records the time every few milliseconds until it is stopped."""
    beats: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.005):
            beats.append(time.monotonic())

    threading.Thread(target=beat, daemon=True).start()
    return beats, stop


def connected(loop: asyncio.AbstractEventLoop, pair: Callable[[], Any], protocol: Any) -> tuple[Any, socket.socket]:
    ours, peer = pair()
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=ours))
    os.set_blocking(transport._sock_fd, True)
    return transport, peer


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_write_that_finds_no_room_lets_the_loop_and_other_threads_go_on(pair: Any, chunk: Any) -> None:
    def scenario() -> list[int]:
        loop = new_loop()
        transport, peer = connected(loop, pair, asyncio.Protocol())
        beats, stop = heartbeat()
        for write in (transport.write, lambda data: transport.writelines([data, data])):
            write(chunk(b"x" * (8 * MIB)))
        before = len(beats)
        run(loop, asyncio.sleep(0.05))
        ran = len(beats) - before
        pending = transport.get_write_buffer_size()
        arrived = 0

        def read() -> None:
            nonlocal arrived
            while data := peer.recv(MIB):
                arrived += len(data)

        transport.close()
        reading = threading.Thread(target=read)
        reading.start()
        run_until(loop, lambda: not reading.is_alive())
        stop.set()
        return [ran > 2, pending > 8 * MIB, arrived]

    assert in_child(scenario) == [True, True, 24 * MIB]


class Fills(asyncio.BufferedProtocol):
    """Has a buffer that each receive fills."""

    def __init__(self) -> None:
        self.buffer = bytearray(100)
        self.received = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_receive_that_finds_nothing_more_lets_the_loop_go_on(pair: Any) -> None:
    def scenario() -> int:
        loop = new_loop()
        protocol = Fills()
        transport, peer = connected(loop, pair, protocol)
        peer.send(b"x" * 200)
        run_until(loop, lambda: protocol.received == 200)
        turn(loop, 3)
        transport.abort()
        return protocol.received

    assert in_child(scenario) == 200


def test_a_datagram_socket_lets_the_loop_go_on() -> None:
    def scenario() -> list[bool]:
        loop = new_loop()
        ours, peer = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        # A name that the kernel chooses.
        peer.bind("")
        ours.connect(peer.getsockname())
        transport, _ = run(loop, loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours))
        os.set_blocking(transport._sock_fd, True)
        for _ in range(2000):
            transport.sendto(b"x" * 1000)
        turn(loop, 3)
        waits = transport.get_write_buffer_size() > 0
        transport.abort()
        return [waits]

    assert in_child(scenario) == [True]


def test_a_listener_lets_the_loop_go_on() -> None:
    def scenario() -> int:
        loop = new_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        accepted: list[Any] = []

        class Notes(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.append(transport)

        server = run(loop, loop.create_server(Notes, sock=listener))
        os.set_blocking(listener.fileno(), True)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        run_until(loop, lambda: len(accepted) == 3)
        turn(loop, 3)
        server.close()
        for each in (*accepted, *clients):
            each.close()
        return len(accepted)

    assert in_child(scenario) == 3


def test_closing_a_connection_that_lingers_lets_other_threads_run() -> None:
    """An accepted connection has SO_LINGER from its listener: closing it waits for a peer that does not read."""

    def scenario() -> bool:
        loop = new_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\1\0\0\0")
        transports: list[Any] = []

        class Sends(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transports.append(transport)
                transport.write(b"x" * (8 * MIB))

        server = run(loop, loop.create_server(Sends, sock=listener))
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        run_until(loop, lambda: transports)
        server.close()
        beats, stop = heartbeat()
        started = time.monotonic()
        transports[0].abort()
        turn(loop, 2)
        ended = time.monotonic()
        stop.set()
        assert ended - started > 0.9, "the kernel waits"
        client.close()
        return sum(started < beat < ended for beat in beats) > 10

    assert in_child(scenario)
