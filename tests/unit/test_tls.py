"""TLS: connections, ``start_tls`` with bytes in transit, closing and failures."""

import asyncio
import random
import socket
import ssl
from typing import Any

import pytest

from frameworks.certificates import Certificates

from .connections import Recorder
from .loops import run, run_until

Loop = asyncio.AbstractEventLoop
MIB = 1 << 20


async def connected(
    loop: Loop, certificates: Certificates, *, context: ssl.SSLContext | None = None
) -> tuple[Any, Recorder, Any, Recorder]:
    """A client's and a server's transport and protocol, over TLS."""
    served: asyncio.Future[Recorder] = loop.create_future()

    class Serves(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            served.set_result(self)

    server = await loop.create_server(Serves, "127.0.0.1", 0, ssl=certificates.server_context())
    transport, protocol = await loop.create_connection(
        Recorder,
        *server.sockets[0].getsockname(),
        ssl=context or certificates.client_context(),
        server_hostname="localhost",
    )
    peer = await served
    server.close()
    return transport, protocol, peer.transport, peer


def test_bytes_cross_in_both_directions(loop: Loop, certificates: Certificates) -> None:
    there, back = random.Random(1).randbytes(2 * MIB), random.Random(2).randbytes(2 * MIB)
    client, protocol, served, peer = run(loop, connected(loop, certificates))
    client.write(there)
    served.writelines([back[: MIB // 3], back[MIB // 3 :]])
    run_until(loop, lambda: len(protocol.received) == len(peer.received) == 2 * MIB)
    assert (peer.received, protocol.received) == (there, back)
    client.close()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)
    assert (protocol.lost_with, peer.lost_with) == (None, None)


def test_the_connection_tells_of_its_encryption(loop: Loop, certificates: Certificates) -> None:
    client, protocol, _, peer = run(loop, connected(loop, certificates))
    assert isinstance(client.get_extra_info("ssl_object"), ssl.SSLObject)
    assert client.get_extra_info("sslcontext").check_hostname
    assert client.get_extra_info("cipher")[1].startswith("TLS")
    names = {value for kind, value in client.get_extra_info("peercert")["subjectAltName"]}
    assert "localhost" in names
    assert client.get_extra_info("peername")[0] == "127.0.0.1"
    assert client.get_extra_info("socket") is not None
    client.abort()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)


def test_write_and_close_sends_everything(loop: Loop, certificates: Certificates) -> None:
    client, protocol, _, peer = run(loop, connected(loop, certificates))
    data = random.Random(3).randbytes(MIB)
    client.write(data)
    client.close()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)
    assert peer.received == data


def test_flow_control_pauses_and_resumes(loop: Loop, certificates: Certificates) -> None:
    client, protocol, served, peer = run(loop, connected(loop, certificates))
    served.pause_reading()
    for _ in range(64):
        client.write(b"x" * (MIB // 4))
    assert protocol.names == ["made", "pause"]
    served.resume_reading()
    run_until(loop, lambda: sum(len(data) for name, *rest in peer.events for data in rest if data) == 16 * MIB)
    assert protocol.names == ["made", "pause", "resume"]
    client.close()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)


def test_a_certificate_of_a_stranger_is_refused(
    loop: Loop, certificates: Certificates, contexts: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=certificates.server_context())
        async with server:
            address = server.sockets[0].getsockname()
            with pytest.raises(ssl.SSLCertVerificationError):
                await loop.create_connection(
                    Recorder, *address, ssl=ssl.create_default_context(), server_hostname="localhost"
                )
            with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
                await loop.create_connection(
                    Recorder, *address, ssl=certificates.client_context(), server_hostname="else.where"
                )
            await asyncio.sleep(0.002)

    run(loop, main())


def test_a_peer_that_speaks_no_tls_is_told(loop: Loop, certificates: Certificates) -> None:
    ours, theirs = socket.socketpair()
    theirs.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        with pytest.raises(ssl.SSLError):
            await loop.create_connection(
                Recorder, sock=ours, ssl=certificates.client_context(), server_hostname="localhost"
            )

    run(loop, main())
    theirs.close()


def test_a_handshake_that_takes_too_long_is_ended(loop: Loop, certificates: Certificates) -> None:
    ours, theirs = socket.socketpair()

    async def main() -> None:
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than"):
            await loop.create_connection(
                Recorder,
                sock=ours,
                ssl=certificates.client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.01,
            )

    run(loop, main())
    theirs.close()


def test_start_tls_keeps_the_bytes_on_both_sides_of_it(loop: Loop, certificates: Certificates) -> None:
    """A plain greeting, the switch, and encrypted data written in the same breath."""

    async def serve(transport: Any, protocol: Recorder) -> tuple[Any, Recorder]:
        while not protocol.received.endswith(b"STARTTLS\n"):
            await asyncio.sleep(0)
        transport.write(b"go ahead\n")
        encrypted = Recorder()
        over_tls = await loop.start_tls(transport, encrypted, certificates.server_context(), server_side=True)
        over_tls.write(b"welcome\n")
        return over_tls, encrypted

    async def main() -> None:
        ours, theirs = socket.socketpair()
        client, plain = await loop.create_connection(Recorder, sock=ours)
        served, served_plain = await loop.create_connection(Recorder, sock=theirs)
        serving = asyncio.ensure_future(serve(served, served_plain))
        client.write(b"hello\n")
        client.write(b"STARTTLS\n")
        while not plain.received.endswith(b"go ahead\n"):
            await asyncio.sleep(0)
        encrypted = Recorder()
        over_tls = await loop.start_tls(client, encrypted, certificates.client_context(), server_hostname="localhost")
        assert over_tls is not None
        over_tls.write(b"secret " * 10_000)
        served_over_tls, served_encrypted = await serving
        while len(served_encrypted.received) < 70_000 or encrypted.received != b"welcome\n":
            await asyncio.sleep(0)
        assert served_encrypted.received == b"secret " * 10_000
        assert plain.received == b"go ahead\n"
        assert served_plain.received == b"hello\nSTARTTLS\n"
        assert over_tls.get_extra_info("ssl_object") is not None
        over_tls.close()
        while not (encrypted.is_lost and served_encrypted.is_lost):
            await asyncio.sleep(0)
        assert not served_plain.is_lost
        del served_over_tls

    run(loop, main())


def test_start_tls_sends_what_was_written_before_it_as_it_was(loop: Loop, certificates: Certificates) -> None:
    before = b"plain " * 500_000

    async def main() -> None:
        ours, theirs = socket.socketpair()
        client, _ = await loop.create_connection(Recorder, sock=ours)
        served, served_plain = await loop.create_connection(Recorder, sock=theirs)
        client.write(before)
        assert client.get_write_buffer_size() > 0
        while len(served_plain.received) < len(before):
            await asyncio.sleep(0)
        encrypted, served_encrypted = Recorder(), Recorder()
        served.pause_reading()
        serving = asyncio.ensure_future(
            loop.start_tls(served, served_encrypted, certificates.server_context(), server_side=True)
        )
        over_tls = await loop.start_tls(client, encrypted, certificates.client_context(), server_hostname="localhost")
        assert over_tls is not None
        served_over_tls = await serving
        over_tls.write(b"secret")
        while served_encrypted.received != b"secret":
            await asyncio.sleep(0)
        assert served_plain.received == before
        assert served_over_tls is not None
        served_over_tls.close()
        while not (encrypted.is_lost and served_encrypted.is_lost):
            await asyncio.sleep(0)

    run(loop, main())


def test_streams_can_start_tls(loop: Loop, certificates: Certificates) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"ok\n")
        await writer.drain()
        await writer.start_tls(certificates.server_context())
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"ok\n"
            await writer.start_tls(certificates.client_context(), server_hostname="localhost")
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0.001)

    run(loop, main())


def test_a_connection_cut_without_a_farewell_ends_as_asyncio_ends_it(loop: Loop, certificates: Certificates) -> None:
    client, protocol, served, peer = run(loop, connected(loop, certificates))
    served.abort()
    run_until(loop, lambda: protocol.is_lost and peer.is_lost)
    assert protocol.lost_with is None or isinstance(protocol.lost_with, ConnectionResetError | ssl.SSLError)
    assert client.is_closing()
