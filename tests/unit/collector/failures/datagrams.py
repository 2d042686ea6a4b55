"""Datagram endpoints that fail."""

import asyncio
import socket

from .ways import HOST, World, cancelled, expected, fail, failure, refused_port, turns, until_closed


class FailingDatagrams(asyncio.DatagramProtocol):
    """Raises in one of its methods."""

    def __init__(self, method: str) -> None:
        setattr(self, method, fail)


@failure
async def datagram_endpoints_without_an_address(world: World) -> None:
    for options in ({"local_addr": ("192.0.2.1", 0)}, {}, {"local_addr": "x"}, {"remote_addr": (HOST, "no such")}):
        with expected():
            await world.loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options)  # type: ignore[arg-type]
    with expected():
        await world.loop.create_datagram_endpoint(fail, local_addr=(HOST, 0))
    for count in range(4):
        await cancelled(
            world.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0)),  # type: ignore[arg-type]
            count,
        )
        await turns()


@failure
async def datagrams_that_nobody_receives(world: World) -> None:
    with refused_port() as port:
        for make in (asyncio.DatagramProtocol, lambda: FailingDatagrams("error_received")):
            transport, _ = await world.loop.create_datagram_endpoint(make, remote_addr=(HOST, port))
            for _ in range(3):
                with expected():
                    transport.sendto(b"x")
                await turns(2)
            await until_closed(transport)


@failure
async def datagram_protocols_that_fail(world: World) -> None:
    for method in ("connection_made", "datagram_received", "connection_lost"):
        transport, _ = await world.loop.create_datagram_endpoint(
            lambda method=method: FailingDatagrams(method), local_addr=(HOST, 0)
        )
        with expected():
            transport.sendto(b"x", ("no such host", 1))
        with expected():
            transport.sendto("x", (HOST, 1))  # type: ignore[arg-type]
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"x", transport.get_extra_info("sockname"))
        await turns()
        await until_closed(transport)
