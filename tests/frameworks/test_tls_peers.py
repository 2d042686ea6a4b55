"""What peers of TLS do beyond a handshake and an echo, with both engines: other keys and handshakes in the middle of a
connection, client certificates that are demanded, a log of the secrets; and curl over https."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ferrio import _tls

from .certificates import Certificates
from .loop_under_test import run
from .namespaces import NAMESPACES
from .programs import output_of, running
from .service import payload
from .small_http import small_http
from .test_openssl import VERSIONS, serving, until

#: Lets a server of OpenSSL 3 answer a client that wants to shake hands again; `ssl` has no name for it.
OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8

needs_openssl_3 = pytest.mark.skipif(
    ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL 1.1.1 has another meaning of this option"
)


@pytest.fixture(params=["the better one", "python"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tls, "FORCED", "python" if request.param == "python" else "")


@asynccontextmanager
async def openssl_server(
    openssl: str, certificates: Certificates, *options: str | Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A server of OpenSSL's, and its port."""
    own = ["-cert", certificates.server_file, "-key", certificates.server_key_file]
    async with running([openssl, "s_server", "-accept", "127.0.0.1:0", *own, *options]) as server:
        announced = await until(server, b"ACCEPT ") + await until(server, b"\n")
        yield server, int(announced.split()[-1].rpartition(b":")[2])


@needs_openssl_3
def test_a_client_shakes_hands_again(openssl: str, certificates: Certificates) -> None:
    async def main() -> None:
        context = certificates.server_context()
        context.options |= OP_ALLOW_CLIENT_RENEGOTIATION
        async with serving(context) as (address, made):
            async with running([openssl, "s_client", "-connect", address, "-tls1_2"]) as client:
                assert client.stdin is not None
                assert client.stderr is not None
                client.stdin.write(b"first line\n")
                await until(client, b"FIRST LINE\n")
                for line in (b"second line\n", b"third line\n"):
                    client.stdin.write(b"R\n")
                    async with asyncio.timeout(15):
                        await client.stderr.readuntil(b"RENEGOTIATING\n")
                    client.stdin.write(line)
                    await until(client, line.upper())
            assert made[0].received == b"first line\nsecond line\nthird line\n"

    run(main)


@pytest.mark.parametrize(
    ("version", "commands"),
    [("-tls1_2", b"r"), ("-tls1_3", b"k"), ("-tls1_3", b"K")],
    ids=["again", "keys", "all keys"],
)
def test_a_server_asks_for_a_handshake_or_for_keys_while_both_sides_write(
    openssl: str, certificates: Certificates, version: str, commands: bytes
) -> None:
    async def main() -> None:
        async with openssl_server(openssl, certificates, version) as (server, port):
            assert server.stdin is not None
            context = certificates.client_context()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            for number in range(3):
                server.stdin.write(commands + b"\n")
                seen = b""
                async with asyncio.timeout(15):
                    # The program shows that it has obeyed when it shows what it receives next.
                    while b"SSL_do_handshake -> 1\n" not in seen:
                        writer.write(b"line %d of the client\n" % number)
                        seen += await until(server, b"line %d of the client\n" % number)
                server.stdin.write(b"line %d of the server\n" % number)
                async with asyncio.timeout(15):
                    assert await reader.readline() == b"line %d of the server\n" % number
            writer.transport.abort()

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_demands_a_certificate_gets_it(openssl: str, certificates: Certificates, version: str) -> None:
    demands = ["-Verify", "1", "-verify_return_error", "-CAfile", certificates.authority_file]

    async def main() -> None:
        async with openssl_server(openssl, certificates, version, "-rev", *demands) as (_, port):

            async def ask(*, with_certificate: bool) -> bytes:
                context = certificates.client_context(with_certificate=with_certificate)
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, server_hostname="localhost"
                )
                writer.write(b"desserts\n")
                try:
                    return await reader.readline()
                finally:
                    writer.transport.abort()

            assert await ask(with_certificate=True) == b"stressed\n"
            # TLS 1.3 lets a client go on before the server has looked.
            with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure|certificate.required"):
                await ask(with_certificate=False)
            assert await ask(with_certificate=True) == b"stressed\n"

    run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_log_the_same_secrets(
    openssl: str, certificates: Certificates, version: str, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    def secrets(file: Path) -> set[str]:
        return {line for line in file.read_text().splitlines() if line and not line.startswith("#")}

    async def main() -> None:
        context = certificates.server_context()
        context.keylog_filename = str(ours)
        async with serving(context) as (address, made):
            command = [openssl, "s_client", "-connect", address, version, "-keylogfile", theirs]
            async with running(command) as client:
                assert client.stdin is not None
                client.stdin.write(b"a line\n")
                await until(client, b"A LINE\n")
            # What a log raises is raised by the methods of the TLS object.
            assert made[0].transport.get_extra_info("ferrio_tls_engine", "python") == "python"

    run(main)
    assert secrets(ours) == secrets(theirs)
    names = {line.split()[0] for line in secrets(ours)}
    assert names == {"CLIENT_RANDOM"} if version == "-tls1_2" else "CLIENT_TRAFFIC_SECRET_0" in names


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("way", ["protocol", "buffered", *NAMESPACES])
def test_curl_sends_and_receives_over_https(
    curl: Path, certificates: Certificates, tmp_path: Path, way: str, version: str
) -> None:
    body = tmp_path / "body"
    body.write_bytes(payload(4, 3_000_000))
    command = [curl, "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "30"]
    command += [f"--tlsv{version}", "--tls-max", version, "--cacert", certificates.authority_file]
    command += ["--cert", certificates.client_file, "--key", certificates.client_key_file]

    async def main() -> None:
        context = certificates.server_context(wants_client_certificate=True)
        async with small_http(way, NAMESPACES, context) as (base, seen):
            sizes = (1, 16_384, 16_385, 3_000_000)
            received = await output_of([*command, *(f"{base}/bytes/3/{size}" for size in sizes), f"{base}/connection"])
            assert received == b"".join(payload(3, size) for size in sizes) + b"0\n"
            digests = await output_of([*command, "--data-binary", f"@{body}", f"{base}/digest", f"{base}/digest"])
            assert digests.split()[0] == b"3000000"
            assert digests.splitlines()[0] == digests.splitlines()[1]
            async with asyncio.timeout(10):
                while seen.ended < seen.connections:
                    await asyncio.sleep(0.001)
            assert (seen.connections, seen.errors) == (2, {})

    run(main)
