"""Streams and TLS: results, limits, failures, and ``start_tls`` on the way."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from frameworks.certificates import Certificates
from unit.socket_pairs import tcp_pair

from .conftest import Play
from .observation import Diary
from .protocols import Noted, connect, turns


def test_reading_from_a_stream(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        ours, peer = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=100)
        peer.send(b"line one\nline two\r\nno end")
        diary("readline", await reader.readline())
        diary("readuntil", await reader.readuntil(b"\r\n"))
        diary("readexactly", await reader.readexactly(3))
        diary("read", await reader.read(100))
        for method, args in {"readline": (), "readuntil": (b"\n",)}.items():
            peer.send(b"x" * 250 + b"\n")
            with diary.raises(method):
                await getattr(reader, method)(*args)
        diary("left", await reader.read(1000))
        diary("paused", reader._transport.is_reading())  # type: ignore[attr-defined]
        waiting = asyncio.ensure_future(reader.read(1))
        await turns(2)
        with diary.raises("two readers"):
            await reader.read(1)
        waiting.cancel()
        await turns(2)
        peer.send(b"ab")
        peer.close()
        with diary.raises("readexactly"):
            await reader.readexactly(1000)
        diary("end", await reader.read(), await reader.readline(), reader.at_eof())
        writer.close()
        await writer.wait_closed()

    scenario(play)


def test_a_stream_whose_peer_resets(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        from .protocols import reset

        ours, peer = tcp_pair()
        reader, writer = await asyncio.open_connection(sock=ours)
        waiting = asyncio.ensure_future(reader.read(1))
        await turns(2)
        reset(peer)
        with diary.raises("read"):
            await waiting
        with diary.raises("read again"):
            await reader.read(1)
        writer.write(b"late")
        with diary.raises("drain"):
            await writer.drain()
        writer.close()
        with diary.raises("wait_closed"):
            await writer.wait_closed()

    scenario(play)


def test_a_slow_reader_holds_back_the_writer(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        first, second = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=first)
        reader, other = await asyncio.open_connection(sock=second, limit=1000)
        sent = 0

        async def write() -> None:
            nonlocal sent
            for _ in range(100):
                writer.write(b"x" * 50_000)
                await writer.drain()
                sent += 50_000
            writer.write_eof()

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0.005)
        diary("held back", sent < 5_000_000)
        received = 0
        while data := await reader.read(100_000):
            received += len(data)
        await writing
        diary("all", sent, received)
        for each in (writer, other):
            each.close()
            await each.wait_closed()

    scenario(play)


def test_a_server_of_streams(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while line := await reader.readline():
                    diary("served", line)
                    if line == b"fail\n":
                        raise LookupError("the handler's")
                    writer.write(line.upper())
                    await writer.drain()
            finally:
                diary("handler ends")
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        for last in (b"end\n", b"fail\n"):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.writelines([b"one\n", b"two\n", last])
            diary("answer", await reader.readexactly(8))
            if last == b"end\n":
                writer.write_eof()
            diary("rest", await reader.read())
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns(3)

    scenario(play)


@pytest.mark.usefixtures("tls_engine")
def test_a_conversation_over_tls(scenario_in_both_modes: Play, certificates: Certificates) -> None:
    async def play(diary: Diary) -> None:
        served = Noted(diary, "server", at={"data_received": lambda transport: transport.write(b"answer")})
        client = Noted(diary, "client")
        server = await diary.loop.create_server(lambda: served, "127.0.0.1", 0, ssl=certificates.server_context())
        transport, _ = await diary.loop.create_connection(
            lambda: client,
            *server.sockets[0].getsockname(),
            ssl=certificates.client_context(),
            server_hostname="localhost",
        )
        diary("cipher", transport.get_extra_info("cipher")[:2], transport.get_extra_info("compression"))
        transport.write(b"hello")
        while not client.received:
            await asyncio.sleep(0)
        diary("state", transport.is_closing(), transport.is_reading(), transport.can_write_eof())
        with diary.raises("write_eof"):
            transport.write_eof()
        diary("limits", transport.get_write_buffer_limits())
        transport.close()
        await client.lost
        await served.lost
        server.close()
        await server.wait_closed()

    scenario_in_both_modes(play)


@pytest.mark.usefixtures("tls_engine")
@pytest.mark.parametrize("keep", ["the same protocol", "another protocol"])
def test_start_tls(scenario: Play, certificates: Certificates, keep: str) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        first, second = socket.socketpair()
        client, served = Noted(diary, "client"), Noted(diary, "server")
        transport, _ = await loop.create_connection(lambda: client, sock=first)
        other, _ = await loop.create_connection(lambda: served, sock=second)
        transport.write(b"plain")
        while not served.received:
            await asyncio.sleep(0)
        protocol = client if keep == "the same protocol" else Noted(diary, "encrypted client")
        encrypted = Noted(diary, "encrypted server")
        serving = asyncio.ensure_future(
            loop.start_tls(other, encrypted, certificates.server_context(), server_side=True)
        )
        over_tls = await loop.start_tls(transport, protocol, certificates.client_context(), server_hostname="localhost")
        assert over_tls is not None
        await serving
        over_tls.write(b"secret")
        while not encrypted.received:
            await asyncio.sleep(0)
        diary("plain server", served.received, "encrypted server", encrypted.received)
        diary("closing", transport.is_closing(), over_tls.is_closing())
        over_tls.close()
        await encrypted.lost
        await turns(5)
        diary("closing", transport.is_closing(), over_tls.is_closing())

    scenario(play)


def test_start_tls_where_it_cannot_be(scenario: Play, certificates: Certificates) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        protocol = Noted(diary)
        transport, peer = await connect(protocol)
        context = certificates.client_context()
        with diary.raises("no context"):
            await loop.start_tls(transport, protocol, None)
        with diary.raises("True"):
            await loop.start_tls(transport, protocol, True)
        with diary.raises("a socket"):
            await loop.start_tls(peer, protocol, context, server_hostname="localhost")
        with diary.raises("a negative timeout"):
            await loop.start_tls(transport, protocol, context, server_hostname="localhost", ssl_handshake_timeout=-1)
        with diary.raises("a timeout"):
            await loop.start_tls(transport, protocol, context, server_hostname="localhost", ssl_handshake_timeout=0.005)
        diary("closing", transport.is_closing())
        await turns(3)
        peer.close()

    scenario(play)


@pytest.mark.usefixtures("tls_engine")
def test_certificates_that_do_not_fit(scenario: Play, certificates: Certificates) -> None:
    async def play(diary: Diary) -> None:
        served: list[Noted] = []

        def factory() -> Noted:
            served.append(Noted(diary, "server"))
            return served[-1]

        server = await diary.loop.create_server(factory, "127.0.0.1", 0, ssl=certificates.server_context())
        address = server.sockets[0].getsockname()
        contexts: dict[str, tuple[ssl.SSLContext, str]] = {
            "another name": (certificates.client_context(), "else.where"),
            "a stranger": (ssl.create_default_context(), "localhost"),
        }
        for name, (context, host) in contexts.items():
            with diary.raises(name):
                await diary.loop.create_connection(
                    lambda: Noted(diary, "client"), *address, ssl=context, server_hostname=host
                )
            await asyncio.sleep(0.005)
        plain = Noted(diary, "plain")
        transport, _ = await diary.loop.create_connection(lambda: plain, *address)
        transport.write(b"GET / HTTP/1.0\r\n\r\n")
        await plain.lost
        await asyncio.sleep(0.005)
        server.close()
        await server.wait_closed()

    scenario(play)


@pytest.mark.usefixtures("tls_engine")
@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_a_protocol_over_tls_that_fails(scenario: Play, certificates: Certificates, method: str) -> None:
    async def play(diary: Diary) -> None:
        def fail(transport: Any) -> None:
            raise ValueError("theirs")

        failing, other = Noted(diary, "failing", at={method: fail}), Noted(diary, "other")
        server = await diary.loop.create_server(lambda: failing, "127.0.0.1", 0, ssl=certificates.server_context())
        with diary.raises("connecting"):
            transport, _ = await diary.loop.create_connection(
                lambda: other,
                *server.sockets[0].getsockname(),
                ssl=certificates.client_context(),
                server_hostname="localhost",
            )
            transport.write(b"data")
            await asyncio.sleep(0.003)
            transport.close()
            await other.lost
        await asyncio.sleep(0.003)
        failing.transport.abort()
        await asyncio.sleep(0.002)
        server.close()
        await server.wait_closed()

    scenario(play)
