"""Numbers that change hands, descriptors closed by others, duplicates: no byte reaches a wrong peer."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from unit.connections import Recorder
from unit.loops import ferrio_only, new_loop, run, run_until, turn

from .surroundings import open_descriptors

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = new_loop()
    before = open_descriptors()
    yield loop
    turn(loop, 3)
    gc.collect()
    assert open_descriptors() == before
    loop.close()


class Serving:
    """A server that notes its connections; clients are plain sockets."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.accepted: list[Recorder] = []
        self.server = run(loop, loop.create_server(self._accept, "127.0.0.1", 0))

    def _accept(self) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def connect(self, client: socket.socket | None = None) -> tuple[Recorder, socket.socket]:
        """A new connection: the server's protocol, and the client."""
        count = len(self.accepted)
        client = client or socket.socket()
        client.settimeout(5)
        client.connect(self.server.sockets[0].getsockname())
        run_until(self._loop, lambda: len(self.accepted) > count and self.accepted[count].transport is not None)
        return self.accepted[count], client

    def end(self) -> None:
        self.server.close()
        for protocol in self.accepted:
            protocol.transport.abort()
        turn(self._loop, 3)
        self.accepted.clear()


@pytest.fixture
def serving(loop: Loop) -> Iterator[Serving]:
    serving = Serving(loop)
    yield serving
    serving.end()


@ferrio_only
def test_an_accepted_number_closed_by_others_belongs_to_the_next_connection(loop: Loop, serving: Serving) -> None:
    old, old_client = serving.connect()
    number = old.transport._sock_fd
    next_client = socket.socket()
    os.close(number)
    new, new_client = serving.connect(next_client)
    assert new.transport._sock_fd == number
    old.transport.write(b"of the old one")
    turn(loop, 3)
    assert old.is_lost
    assert isinstance(old.lost_with, OSError)
    # What the old one does at its end leaves the number alone.
    old.transport.abort()
    turn(loop, 3)
    gc.collect()
    new.transport.write(b"of the new one")
    assert new_client.recv(100) == b"of the new one"
    new_client.send(b"an answer")
    run_until(loop, lambda: new.received)
    assert (new.received, old.received) == (b"an answer", b"")
    assert old_client.recv(100) == b""
    old_client.close()
    new_client.close()


@ferrio_only
def test_the_end_of_a_transport_whose_number_has_a_new_owner_closes_nothing(loop: Loop, serving: Serving) -> None:
    old, old_client = serving.connect()
    # The Python socket owns the descriptor from here on.
    assert old.transport.get_extra_info("socket").fileno() == old.transport._sock_fd
    next_client = socket.socket()
    os.close(old.transport._sock_fd)
    new, new_client = serving.connect(next_client)
    assert new.transport._sock_fd == old.transport._sock_fd
    old.transport.close()
    turn(loop, 3)
    del old
    gc.collect()
    new.transport.write(b"still there")
    assert new_client.recv(100) == b"still there"
    old_client.close()
    new_client.close()


@ferrio_only
def test_a_client_s_number_closed_by_others_belongs_to_the_next_connection(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        old, old_protocol = run(loop, loop.create_connection(Recorder, *address))
        old_peer, _ = listener.accept()
        os.close(old._sock_fd)  # type: ignore[attr-defined]
        new, new_protocol = run(loop, loop.create_connection(Recorder, *address))
        new_peer, _ = listener.accept()
        assert new._sock_fd == old._sock_fd  # type: ignore[attr-defined]
        with old_peer, new_peer:
            new_peer.settimeout(5)
            old.write(b"of the old one")
            turn(loop, 3)
            assert old_protocol.is_lost
            new.write(b"of the new one")
            assert new_peer.recv(100) == b"of the new one"
            new_peer.send(b"an answer")
            run_until(loop, lambda: new_protocol.received)
            assert (new_protocol.received, old_protocol.received) == (b"an answer", b"")
            new.abort()
            turn(loop, 3)


def test_a_descriptor_closed_by_others_fails_the_next_write_and_nothing_else(loop: Loop, serving: Serving) -> None:
    lost, client = serving.connect()
    other, other_client = serving.connect()
    lost.transport.get_extra_info("socket")._sock.close()
    for _ in range(6):
        lost.transport.write(b"into the void")
        turn(loop)
    assert isinstance(lost.lost_with, OSError)
    other.transport.write(b"hello")
    assert other_client.recv(100) == b"hello"
    client.close()
    other_client.close()


def test_a_duplicate_outlives_its_transport(loop: Loop, serving: Serving) -> None:
    served, client = serving.connect()
    with served.transport.get_extra_info("socket").dup() as duplicate:
        served.transport.close()
        turn(loop, 3)
        assert served.names == ["made", "lost"]
        # The connection is the duplicate's now.
        duplicate.setblocking(True)
        duplicate.send(b"by the duplicate")
        assert client.recv(100) == b"by the duplicate"
        client.send(b"to the duplicate")
        assert duplicate.recv(100) == b"to the duplicate"
        # What comes for it does not keep the loop busy.
        client.send(b"unread")
        turn(loop, 3)
        begin = time.process_time()
        run(loop, asyncio.sleep(0.2))
        assert time.process_time() - begin < 0.1
        assert served.names == ["made", "lost"]
    client.close()


def test_a_given_socket_is_closed_once(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = run(loop, loop.create_connection(Recorder, sock=ours))
    number = ours.fileno()
    transport.close()
    turn(loop, 2)
    assert ours.fileno() == -1
    with theirs, open(os.devnull) as file:
        taken = file.fileno()
        assert taken == number
        transport.abort()
        transport.close()
        ours.close()
        del transport, ours
        gc.collect()
        turn(loop, 2)
        assert os.fstat(taken).st_rdev == os.stat(os.devnull).st_rdev


def test_the_socket_of_an_ended_transport_leads_nowhere(loop: Loop, serving: Serving) -> None:
    served, client = serving.connect()
    kept = served.transport.get_extra_info("socket")
    number = kept.fileno()
    served.transport.abort()
    turn(loop, 2)
    with open(os.devnull) as file:
        assert file.fileno() == number
        assert kept.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert served.transport.get_extra_info("socket").fileno() == -1
    client.close()


def test_many_short_connections_over_few_numbers_each_get_their_own_answer(loop: Loop) -> None:
    chance = random.Random(1)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            if chance.random() < 0.3:
                self.transport.close()

    async def client(address: tuple[str, int], name: bytes) -> None:
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(name)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
                return
            assert await reader.readexactly(len(name)) == name
            if chance.random() < 0.5:
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for round_number in range(40):
            clients = [
                asyncio.ensure_future(client(address, b"%d/%d" % (round_number, number))) for number in range(10)
            ]
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            for task in chance.sample(clients, 3):
                task.cancel()
            for outcome in await asyncio.gather(*clients, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        server.close()
        for _ in range(5):
            await asyncio.sleep(0.001)

    run(loop, main())
