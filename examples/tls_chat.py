"""A chat server over TLS: a line from one client goes to all others.

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout key.pem -out certificate.pem
    python -m ferrio examples/tls_chat.py --certificate certificate.pem --key key.pem
    openssl s_client -quiet -connect localhost:8443

Each client has a queue of its own. One that does not read fast enough loses its connection, so that it keeps neither
memory nor the others waiting.
"""

import argparse
import asyncio
import contextlib
import ssl

MOST_WAITING = 1000
MOST_BYTES_IN_A_LINE = 4096


class Room:
    def __init__(self) -> None:
        self._members: dict[str, tuple[asyncio.Queue[bytes], asyncio.StreamWriter]] = {}

    def enter(self, name: str, writer: asyncio.StreamWriter) -> asyncio.Queue[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._members[name] = queue, writer
        return queue

    def leave(self, name: str) -> None:
        del self._members[name]

    def say(self, sender: str, text: str) -> None:
        line = f"{sender}: {text}\n".encode()
        for name, (queue, writer) in self._members.items():
            if name == sender:
                continue
            if queue.full():
                writer.transport.abort()
            else:
                queue.put_nowait(line)


async def send(queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            writer.write(await queue.get())
            await writer.drain()


async def serve_client(room: Room, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, port, *_ = writer.get_extra_info("peername")
    name = f"{host}:{port}"
    queue = room.enter(name, writer)
    sending = asyncio.create_task(send(queue, writer))
    room.say(name, "has come")
    try:
        # A line beyond the limit is a ValueError, and ends the connection. The end of the program cancels this task;
        # some releases of asyncio would report that.
        with contextlib.suppress(OSError, ValueError, asyncio.CancelledError):
            while line := await reader.readline():
                room.say(name, line.decode(errors="replace").rstrip())
    finally:
        room.leave(name)
        room.say(name, "has gone")
        sending.cancel()
        writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    arguments = parser.parse_args()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.certificate, arguments.key)
    room = Room()
    server = await asyncio.start_server(
        lambda reader, writer: serve_client(room, reader, writer),
        arguments.host,
        arguments.port,
        ssl=context,
        limit=MOST_BYTES_IN_A_LINE,
    )
    print(f"listening on {arguments.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    try:
        # Until the program is interrupted; connections end with it.
        await asyncio.Event().wait()
    finally:
        server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
