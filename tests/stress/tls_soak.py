"""Opens and closes very many TLS connections on one loop, a third of them badly, and looks for what stayed behind.

    python tests/stress/tls_soak.py --connections 50000

Server and clients share one loop. Of three connections one ends orderly after an echo, one by an abort after it, and
one is bad: garbage in place of a handshake, a reset or an end within it, or a task that is cancelled at its n-th turn.
Afterwards the counts of ``soaking/remains.py`` are compared with those after a warm-up. The exit status is 1 after
growth beyond an allowance, a wrong answer, a connection that hangs, or a report to the loop's exception handler of
anything but an error of TLS or of a socket.

The loop is Ferrio's; with ``FERRIO_TEST_LOOP=asyncio`` it is the standard library's. ``FERRIO_TLS`` forces an engine.
"""

import argparse
import asyncio
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soaking.remains import growth, print_table, snapshot

from frameworks.certificates import make_certificates

LIMIT_S = 20.0
CONCURRENCY = 50
RESET = struct.pack("ii", 1, 0)
BAD = ("garbage", "reset", "end", "cancelled")


class Soak:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.open = 0
        self.ends: Counter[str] = Counter()
        self.failures: list[str] = []
        self.address = ("", 0)
        self.context: ssl.SSLContext

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.transport.abort()
        finally:
            self.open -= 1

    async def talk(self, *, aborts: bool) -> None:
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.context, server_hostname="localhost")
        message = self.chance.randbytes(self.chance.choice([1, 1000, 40_000]))
        try:
            writer.write(message)
            if await reader.readexactly(len(message)) != message:
                self.failures.append("the answer is not the message")
        finally:
            if aborts:
                writer.transport.abort()
            else:
                writer.close()
                await writer.wait_closed()

    async def be_bad(self, kind: str) -> None:
        """A plain socket that does not shake hands to the end."""
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, self.address)
            if kind == "garbage":
                await loop.sock_sendall(sock, self.chance.randbytes(self.chance.choice([1, 5, 200])))
            elif self.chance.random() < 0.7:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = self.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
                try:
                    client.do_handshake()
                except ssl.SSLWantReadError:
                    hello = outgoing.read()
                    await loop.sock_sendall(sock, hello[: self.chance.randrange(1, len(hello) + 1)])
            for _ in range(self.chance.randrange(5)):
                await asyncio.sleep(0)
            if kind == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def connect_once(self, number: int) -> None:
        kind = ("orderly", "aborted", self.chance.choice(BAD))[number % 3]
        self.ends[kind] += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                if kind == "cancelled":
                    task = asyncio.create_task(self.talk(aborts=False))
                    for _ in range(self.chance.randrange(12)):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                elif kind in BAD:
                    await self.be_bad(kind)
                else:
                    await self.talk(aborts=kind == "aborted")
        except TimeoutError:
            self.failures.append(f"{kind}: not over after {LIMIT_S:g} s")
        except OSError as error:
            self.failures.append(f"{kind}: {error!r}")

    async def run(self, count: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await self.connect_once(number)

        tasks = len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())
        deadline = time.monotonic() + LIMIT_S
        while (self.open or len(asyncio.all_tasks()) > tasks) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)


async def main(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    soak = Soak(options.seed)

    def on_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio reports the bad handshakes that are no error of the socket's.
        if not isinstance(context.get("exception"), ssl.SSLError | OSError):
            soak.failures.append(f"exception handler: {context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(on_unhandled)
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        soak.context, context = certificates.client_context(), certificates.server_context()
    server = await asyncio.start_server(soak.serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    soak.address = server.sockets[0].getsockname()
    begin = time.monotonic()
    await soak.run(options.warm_up)
    before = snapshot()
    await soak.run(options.connections)
    after = snapshot()
    server.close()
    print_table(before, after)
    print("\n" + ", ".join(f"{count:,} {kind}" for kind, count in sorted(soak.ends.items())))
    failures = [*soak.failures, *(f"{name} grew by {by:,}" for name, by in growth(before, after).items())]
    for failure in failures[:20]:
        print(f"FAILED {failure}")
    print(f"{'FAILED' if failures else 'ok'}: {options.connections:,} connections, {time.monotonic() - begin:.0f} s")
    return int(bool(failures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=50_000)
    parser.add_argument("--warm-up", type=int, default=1_000, help="connections before the first count")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    if os.environ.get("FERRIO_TEST_LOOP") == "asyncio":
        factory = asyncio.new_event_loop
    else:
        import ferrio

        factory = ferrio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        sys.exit(runner.run(main(arguments)))
