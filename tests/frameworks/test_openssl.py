"""OpenSSL's own programs at the other end of TLS: both versions, new keys, sessions that are used again, client
certificates, a callback for server names."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from .certificates import Certificates
from .loop_under_test import run
from .programs import running

VERSIONS = ["-tls1_2", "-tls1_3"]


class Lines(asyncio.Protocol):
    """Answers each line in capitals; notes what the connection tells of itself."""

    made: list["Lines"]

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ssl_object: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.was_reused, self.certificate = self.ssl_object.session_reused, transport.get_extra_info("peercert")
        self.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data.upper())


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[tuple[str, list[Lines]]]:
    made: list[Lines] = []
    kind = type("Noting", (Lines,), {"made": made})
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", made
    finally:
        for protocol in made:
            protocol.transport.abort()
        server.close()


async def until(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    """What the program writes, up to *text*."""
    assert process.stdout is not None
    async with asyncio.timeout(15):
        return await process.stdout.readuntil(text)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_openssl_is_answered_after_it_has_asked_for_new_keys(
    openssl: str, certificates: Certificates, version: str
) -> None:
    async def main() -> None:
        async with serving(certificates.server_context()) as (address, made):
            command = [openssl, "s_client", "-connect", address, "-CAfile", certificates.authority_file, version]
            async with running([*command, "-verify_return_error", "-servername", "localhost"]) as client:
                assert client.stdin is not None
                client.stdin.write(b"first line\n")
                await until(client, b"FIRST LINE\n")
                if version == "-tls1_3":
                    # The client's new keys, and a request for new ones of ours; then its own alone.
                    assert client.stderr is not None
                    for letter in (b"K\n", b"k\n"):
                        client.stdin.write(letter)
                        # The program takes a command only where what it reads begins with one.
                        async with asyncio.timeout(15):
                            await client.stderr.readuntil(b"KEYUPDATE\n")
                client.stdin.write(b"second line\n")
                await until(client, b"SECOND LINE\n")
                client.stdin.write(b"third" * 10_000 + b"\n")
                await until(client, b"THIRD\n")
            assert made[0].received.startswith(b"first line\nsecond line\nthird")
            assert made[0].ssl_object.version() == version.replace("-tls", "TLSv").replace("_", ".")

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_see_that_a_session_is_used_again(
    openssl: str, certificates: Certificates, version: str, tmp_path: Path
) -> None:
    async def main() -> None:
        session = str(tmp_path / "session.pem")
        async with serving(certificates.server_context()) as (address, made):
            for option, expected in (("-sess_out", b"\nNew, "), ("-sess_in", b"\nReused, ")):
                async with running([openssl, "s_client", "-connect", address, version, option, session]) as client:
                    assert client.stdin is not None
                    seen = await until(client, b"---\n")
                    client.stdin.write(b"a line\n")
                    seen += await until(client, b"A LINE\n")
                    assert expected in seen
                    client.stdin.write(b"Q\n")
                    await client.wait()
            assert [protocol.was_reused for protocol in made] == [False, True]

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_certificate_is_asked_for_and_seen(openssl: str, certificates: Certificates, version: str) -> None:
    async def main() -> None:
        async with serving(certificates.server_context(wants_client_certificate=True)) as (address, made):
            command = [openssl, "s_client", "-connect", address, version]
            own = ["-cert", certificates.client_file, "-key", certificates.client_key_file]
            async with running([*command, *own]) as client:
                assert client.stdin is not None
                client.stdin.write(b"a line\n")
                await until(client, b"A LINE\n")
            assert made[0].certificate["subject"]

    run(main)


def test_a_callback_for_server_names_gives_another_context(openssl: str, certificates: Certificates) -> None:
    first, other = certificates.server_context(), certificates.server_context()
    other.set_alpn_protocols(["other"])
    names: list[str | None] = []

    def choose(ssl_object: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        names.append(name)
        ssl_object.context = other

    first.sni_callback = choose  # type: ignore[assignment]

    async def main() -> None:
        async with serving(first) as (address, made):
            command = [openssl, "s_client", "-connect", address, "-servername", "localhost", "-alpn", "other"]
            async with running(command) as client:
                assert client.stdin is not None
                client.stdin.write(b"a line\n")
                await until(client, b"A LINE\n")
            assert names == ["localhost"]
            assert made[0].transport.get_extra_info("ssl_object").context is other
            assert made[0].ssl_object.version() is not None

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_of_openssl_answers(openssl: str, certificates: Certificates, version: str) -> None:
    async def main() -> None:
        own = ["-cert", certificates.server_file, "-key", certificates.server_key_file]
        async with running([openssl, "s_server", "-accept", "127.0.0.1:0", *own, version, "-rev"]) as server:
            announced = await until(server, b"ACCEPT ") + await until(server, b"\n")
            port = int(announced.split()[-1].rpartition(b":")[2])
            context = certificates.client_context()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            for line in (b"desserts", b"drawer" * 2_000):
                writer.write(line + b"\n")
                assert await reader.readline() == line[::-1] + b"\n"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_wrong_host_is_refused_before_anything_is_said(openssl: str, certificates: Certificates) -> None:
    async def main() -> None:
        own = ["-cert", certificates.server_file, "-key", certificates.server_key_file]
        async with running([openssl, "s_server", "-accept", "127.0.0.1:0", *own, "-rev"]) as server:
            announced = await until(server, b"ACCEPT ") + await until(server, b"\n")
            port = int(announced.split()[-1].rpartition(b":")[2])
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=certificates.client_context(), server_hostname="elsewhere.test"
                )

    run(main)
