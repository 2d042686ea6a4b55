"""Servers that fail, of TCP and of Unix sockets."""

import asyncio
import contextlib
import os
import socket

from .ways import HOST, METHODS, FailingProtocol, World, cancelled, expected, fail, failure, listening, turns

# --- serving ---------------------------------------------------------------------------------------------------------


@failure
async def servers_without_an_address(world: World) -> None:
    with listening() as (_, address), expected():
        await world.loop.create_server(asyncio.Protocol, *address)
    with expected():
        await world.loop.create_server(asyncio.Protocol, "192.0.2.1", 0)


@failure
async def servers_whose_protocols_fail(world: World) -> None:
    for make in (fail, *(lambda method=method: FailingProtocol(method) for method in METHODS)):
        server = await world.loop.create_server(make, HOST, 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.send(b"x")
            await turns()
            # It may be over.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            await turns()
        await turns()
        server.close()
        await turns()


@failure
async def a_server_that_is_cancelled(world: World) -> None:
    async def serve() -> None:
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0) as server:
            await server.serve_forever()

    for count in range(4):
        await cancelled(serve(), count)


@failure
async def a_handler_that_fails(world: World) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(100)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    writer.close()
    await turns()
    with expected():
        await reader.readexactly(1)
    with expected():
        await writer.wait_closed()
    await turns()
    server.close()
    await turns()


# --- Unix sockets ----------------------------------------------------------------------------------------------------


@failure
async def unix_sockets_that_are_not_there(world: World) -> None:
    with expected():
        await world.loop.create_unix_connection(asyncio.Protocol, str(world.folder / "nobody"))
    with expected():
        await asyncio.open_unix_connection(str(world.folder / "nobody"))
    stale = str(world.folder / "stale")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(stale)
    with expected():
        await world.loop.create_unix_connection(asyncio.Protocol, stale)
    os.unlink(stale)
    with expected():
        await world.loop.create_unix_server(asyncio.Protocol, str(world.folder / "nobody" / "inside"))
    with expected():
        await world.loop.create_unix_server(asyncio.Protocol, "/" + "x" * 200)
    with socket.socket() as wrong, expected():
        await world.loop.create_unix_connection(asyncio.Protocol, sock=wrong)
