"""An HTTP proxy: tunnels for HTTPS (CONNECT), and plain requests that name the whole address.

    python -m ferrio examples/http_proxy.py --port 8080
    curl --proxy http://127.0.0.1:8080 https://example.org/

Bytes are handed on as they come, in both directions, and never more than a buffer of them is held: a side that reads
slowly slows the other down.
"""

import argparse
import asyncio
import contextlib
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024
MOST_BYTES_IN_A_HEAD = 32 * 1024
SECONDS_TO_CONNECT = 10
SECONDS_FOR_A_HEAD = 30

REFUSALS = {400: "Bad Request", 502: "Bad Gateway", 504: "Gateway Timeout"}


class Refused(Exception):
    """The proxy answers by itself, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} {REFUSALS[status]}")


def target_of(head: bytes) -> tuple[str, int, bytes]:
    """Host and port that a request's head asks for, and what is to be sent there first."""
    line, _, fields = head.partition(b"\r\n")
    try:
        method, address, version = line.decode("ascii").split(" ")
        if method == "CONNECT":
            parts = urlsplit(f"//{address}")
            return parts.hostname or "", parts.port or 443, b""
        parts = urlsplit(address)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        # One request for each connection: what follows it could be for another host.
        kept = [
            field
            for field in fields.split(b"\r\n")
            if field.partition(b":")[0].lower() not in (b"connection", b"proxy-connection", b"keep-alive")
        ]
        first = f"{method} {path} {version}\r\nConnection: close\r\n".encode()
        return parts.hostname, parts.port or 80, first + b"\r\n".join(kept)
    except ValueError:
        raise Refused(400) from None


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(SECONDS_TO_CONNECT):
            return await asyncio.open_connection(host, port)
    except TimeoutError:
        raise Refused(504) from None
    except (OSError, ValueError):
        # A name that no resolver takes is a ValueError.
        raise Refused(502) from None


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what *reader* gives until its end, which is handed on, too."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve the one request of a client's connection.

    Raises:
        Refused: It cannot be served.
        ExceptionGroup, OSError, EOFError, asyncio.LimitOverrunError: A side has gone, was late, or sent no head.
    """
    async with asyncio.timeout(SECONDS_FOR_A_HEAD):
        head = await reader.readuntil(b"\r\n\r\n")
    host, port, first = target_of(head)
    far_reader, far_writer = await connect(host, port)
    try:
        if first:
            far_writer.write(first)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        # When one direction fails, the other is cancelled.
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, far_writer))
            group.create_task(pump(far_reader, writer))
    finally:
        far_writer.close()


async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await hand_on(reader, writer)
    except* Refused as refusals:
        status = refusals.exceptions[0]
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    except* (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
        # There is nobody to answer, or the program ends; some releases of asyncio would report a cancelled task.
        pass
    finally:
        writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    server = await asyncio.start_server(serve_client, arguments.host, arguments.port, limit=MOST_BYTES_IN_A_HEAD)
    print(f"listening on {arguments.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    try:
        # Until the program is interrupted; connections end with it.
        await asyncio.Event().wait()
    finally:
        server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
