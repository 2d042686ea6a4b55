"""What one WebSocket publishes, thousands of others receive.

    python -m ferrio examples/websocket_fanout.py --port 8765
    python -m websockets ws://127.0.0.1:8765/prices             # a subscriber
    python -m websockets ws://127.0.0.1:8765/prices/publish     # a publisher

Needs websockets. A path is a channel. A message is sent to every subscriber at once, and nobody waits for the slowest:
a subscriber whose buffer stays full is disconnected when the library's own ping gets no answer.
"""

import argparse
import asyncio
import contextlib
import signal
from collections import defaultdict

from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def publish(channel: str, connection: ServerConnection) -> None:
    async for message in connection:
        receivers = subscribers.get(channel, set())
        broadcast(receivers, message)
        # The publisher is told how many were to receive the message.
        await connection.send(str(len(receivers)))


async def subscribe(channel: str, connection: ServerConnection) -> None:
    subscribers[channel].add(connection)
    try:
        await connection.wait_closed()
    finally:
        subscribers[channel].discard(connection)
        if not subscribers[channel]:
            del subscribers[channel]


async def serve_client(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request else "/"
    channel, is_publisher = path.removesuffix("/publish"), path.endswith("/publish")
    await (publish if is_publisher else subscribe)(channel, connection)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    # Frames are not compressed: each subscriber would have a compressor, and a copy of every message.
    async with serve(serve_client, arguments.host, arguments.port, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on {arguments.host}:{port}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
