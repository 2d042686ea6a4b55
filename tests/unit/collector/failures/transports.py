"""Streams and transports that fail."""

import asyncio
import socket

from ...socket_pairs import tcp_pair, without_blocking
from .ways import World, cancelled, ended, expected, failure, reset, turns, until_closed


@failure
async def streams_that_end(world: World) -> None:
    for end in (socket.socket.close, reset):
        with without_blocking(tcp_pair()) as (ours, theirs):
            reader, writer = await asyncio.open_connection(sock=ours)
            task = asyncio.ensure_future(reader.readexactly(10))
            await cancelled(reader.read(1))
            await turns(2)
            end(theirs)
            theirs.close()
            await ended(task)
            for _ in range(3):
                writer.write(b"x")
                with expected():
                    await writer.drain()
                await turns(2)
            writer.close()
            with expected():
                await writer.wait_closed()
            await turns()


@failure
async def writes_that_fail(world: World) -> None:
    with without_blocking(tcp_pair()) as (ours, theirs):
        transport, _ = await world.loop.create_connection(asyncio.Protocol, sock=ours)
        with expected():
            transport.write("x")  # type: ignore[arg-type]
        with expected():
            transport.writelines([b"x", None])  # type: ignore[list-item]
        transport.write(b"x" * (1 << 22))
        reset(theirs)
        theirs.close()
        await turns()
        await until_closed(transport)
