"""Servers: accepting, closing, waiting, and what ``close_clients`` and ``abort_clients`` do."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Recorder
from .loops import LIMIT_S, open_descriptors, run, run_until, turn

Loop = asyncio.AbstractEventLoop

since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="Server.wait_closed() waits since Python 3.12")
since_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="Server.close_clients() came with Python 3.13")


class Kept(Recorder):
    """Records every instance."""

    all: list["Kept"] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.all.append(self)


@pytest.fixture(autouse=True)
def _no_instances_yet() -> None:
    Kept.all = []


class Served:
    """A server with plain sockets as its clients."""

    def __init__(self, loop: Loop, factory: Callable[[], asyncio.Protocol] = Kept, **options: Any) -> None:
        self.loop = loop
        self.server = run(loop, loop.create_server(factory, "127.0.0.1", 0, **options))
        self.address = self.server.sockets[0].getsockname()
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.settimeout(LIMIT_S)
        self.clients.append(client)
        run_until(self.loop, lambda: len(Kept.all) == len(self.clients) and Kept.all[-1].transport)
        return client

    def end(self) -> None:
        self.server.close()
        for client in self.clients:
            client.close()
        run_until(self.loop, lambda: all(kept.is_lost for kept in Kept.all))
        run(self.loop, self.server.wait_closed())


def test_a_server_makes_a_protocol_for_each_connection(loop: Loop) -> None:
    served = Served(loop)
    first, second = served.connect(), served.connect()
    first.send(b"first")
    second.send(b"second")
    run_until(loop, lambda: all(kept.received for kept in Kept.all))
    assert [kept.received for kept in Kept.all] == [b"first", b"second"]
    Kept.all[0].transport.write(b"answer")
    assert first.recv(10) == b"answer"
    assert Kept.all[0].transport.get_extra_info("peername") == first.getsockname()
    served.end()


def test_many_connections_at_once_are_all_accepted(loop: Loop) -> None:
    served = Served(loop, backlog=200)
    served.clients = [socket.create_connection(served.address) for _ in range(150)]
    run_until(loop, lambda: len(Kept.all) == 150)
    for client in served.clients:
        client.send(b"x")
    run_until(loop, lambda: all(kept.received == b"x" for kept in Kept.all))
    served.end()


def test_a_closed_server_accepts_nobody_and_leaves_its_connections(loop: Loop) -> None:
    served = Served(loop)
    client = served.connect()
    assert served.server.is_serving()
    served.server.close()
    assert not served.server.is_serving()
    assert tuple(served.server.sockets) == ()
    turn(loop, 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.address)
    client.send(b"still here")
    run_until(loop, lambda: Kept.all[0].received == b"still here")
    served.end()


def test_closing_twice_is_closing_once(loop: Loop) -> None:
    served = Served(loop)
    served.server.close()
    served.server.close()
    run(loop, served.server.wait_closed())


@since_3_12
def test_wait_closed_waits_for_the_last_connection(loop: Loop) -> None:
    served = Served(loop)
    served.connect()
    served.connect()
    served.server.close()
    waiting = loop.create_task(served.server.wait_closed())
    turn(loop, 5)
    assert not waiting.done()
    Kept.all[0].transport.abort()
    turn(loop, 5)
    assert not waiting.done()
    Kept.all[1].transport.abort()
    run(loop, asyncio.wait_for(waiting, LIMIT_S))
    served.end()


@since_3_13
def test_close_clients_closes_each_connection_when_everything_is_sent(loop: Loop) -> None:
    served = Served(loop)
    client = served.connect()
    Kept.all[0].transport.write(b"x" * (1 << 20))
    served.server.close()
    served.server.close_clients()
    received = 0
    client.setblocking(False)

    def is_complete() -> bool:
        nonlocal received
        try:
            while part := client.recv(1 << 20):
                received += len(part)
        except BlockingIOError:
            return False
        return True

    run_until(loop, is_complete)
    assert received == 1 << 20
    run_until(loop, lambda: Kept.all[0].is_lost)
    assert Kept.all[0].lost_with is None
    served.end()


@since_3_13
def test_abort_clients_ends_each_connection_at_once(loop: Loop) -> None:
    served = Served(loop)
    served.connect()
    served.connect()
    Kept.all[0].transport.write(b"x" * (16 << 20))
    served.server.close()
    served.server.abort_clients()
    turn(loop, 2)
    assert [kept.is_lost for kept in Kept.all] == [True, True]
    served.end()


@since_3_13
def test_clients_that_are_gone_already_are_not_closed_again(loop: Loop) -> None:
    served = Served(loop)
    served.connect()
    Kept.all[0].transport.abort()
    run_until(loop, lambda: Kept.all[0].is_lost)
    served.server.close_clients()
    served.server.abort_clients()
    turn(loop, 3)
    assert Kept.all[0].names.count("lost") == 1
    served.end()


def test_serve_forever_serves_until_it_is_cancelled(loop: Loop) -> None:
    served = Served(loop, start_serving=False)
    assert not served.server.is_serving()
    serving = loop.create_task(served.server.serve_forever())
    turn(loop, 2)
    assert served.server.is_serving()
    client = served.connect()
    client.send(b"x")
    run_until(loop, lambda: Kept.all[0].received)
    serving.cancel()
    client.close()
    run_until(loop, serving.done)
    assert serving.cancelled()
    assert not served.server.is_serving()
    served.end()


def test_a_second_serve_forever_is_refused(loop: Loop) -> None:
    served = Served(loop)
    serving = loop.create_task(served.server.serve_forever())
    turn(loop, 2)
    with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
        run(loop, served.server.serve_forever())
    serving.cancel()
    run_until(loop, serving.done)
    with pytest.raises(RuntimeError, match="is closed"):
        run(loop, served.server.serve_forever())
    served.end()


def test_a_server_is_its_own_context(loop: Loop) -> None:
    async def main() -> Any:
        async with await loop.create_server(Kept, "127.0.0.1", 0) as server:
            assert server.is_serving()
        return server

    assert not run(loop, main()).is_serving()


def test_start_serving_starts_once(loop: Loop) -> None:
    served = Served(loop, start_serving=False)
    run(loop, served.server.start_serving())
    run(loop, served.server.start_serving())
    served.connect()
    served.end()


def test_a_server_shows_its_sockets_and_its_loop(loop: Loop) -> None:
    served = Served(loop)
    (sock,) = served.server.sockets
    assert isinstance(sock, asyncio.trsock.TransportSocket)  # type: ignore[attr-defined]
    assert sock.getsockname() == served.address
    assert served.server.get_loop() is loop
    served.end()


def test_several_addresses_are_several_sockets(loop: Loop) -> None:
    server = run(loop, loop.create_server(Kept, ["127.0.0.1", "127.0.0.2"], 0))
    addresses = [sock.getsockname() for sock in server.sockets]
    assert sorted(host for host, _ in addresses) == ["127.0.0.1", "127.0.0.2"]
    clients = [socket.create_connection(address) for address in addresses]
    run_until(loop, lambda: len(Kept.all) == 2 and all(kept.transport for kept in Kept.all))
    for client in clients:
        client.close()
    run_until(loop, lambda: all(kept.is_lost for kept in Kept.all))
    server.close()
    run(loop, server.wait_closed())


def test_an_address_in_use_is_told_in_asyncios_words(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        theirs = asyncio.SelectorEventLoop()
        with pytest.raises(OSError, match="address already in use") as expected:
            run(theirs, theirs.create_server(Kept, "127.0.0.1", number))
        theirs.close()
        with pytest.raises(OSError, match="address already in use") as actual:
            run(loop, loop.create_server(Kept, "127.0.0.1", number))
    assert actual.value.args == expected.value.args
    assert actual.value.errno == expected.value.errno


def test_a_factory_that_fails_costs_one_connection_only(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    made: list[int] = []

    def factory() -> asyncio.Protocol:
        made.append(1)
        if len(made) == 1:
            raise LookupError("theirs")
        return Kept()

    served = Served(loop, factory)
    failing = socket.create_connection(served.address)
    run_until(loop, lambda: made)
    turn(loop, 3)
    served.connect()
    assert Kept.all[0].transport is not None
    assert contexts == [] or isinstance(contexts[0]["exception"], LookupError)
    failing.close()
    served.end()


def test_connections_in_the_backlog_of_a_closed_server_leave_no_descriptor(loop: Loop) -> None:
    before = open_descriptors()
    served = Served(loop)
    clients = [socket.create_connection(served.address) for _ in range(20)]
    served.server.close()
    turn(loop, 3)
    for client in clients:
        client.close()
    run_until(loop, lambda: all(kept.is_lost for kept in Kept.all))
    run(loop, served.server.wait_closed())
    assert open_descriptors() == before


def test_no_descriptors_left_to_accept_with_pauses_the_server(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    import errno
    import resource

    served = Served(loop)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.create_connection(served.address)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 1, limits[1]))
    fillers = []
    try:
        while True:
            try:
                fillers.append(socket.socket())
            except OSError:
                break
        run_until(loop, lambda: contexts)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for filler in fillers:
            filler.close()
    assert contexts[0]["message"] == "socket.accept() out of system resource"
    assert contexts[0]["exception"].errno == errno.EMFILE
    assert contexts[0]["socket"] is not None
    client.close()
    served.server.close()
    turn(loop, 3)
    run_until(loop, lambda: all(kept.is_lost for kept in Kept.all))


def test_streams_over_a_server_echo(loop: Loop) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> list[bytes]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            lines = []
            for number in range(50):
                writer.write(b"line %d\n" % number)
                lines.append(await reader.readline())
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        return lines

    assert run(loop, main()) == [b"LINE %d\n" % number for number in range(50)]
