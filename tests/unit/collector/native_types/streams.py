"""Streams."""

import asyncio
from typing import Any

from .kinds import KINDS, Kind, World, aio, having


def stream_reader(world: World) -> Any:
    return aio.StreamReader(loop=world.loop)


def stream_protocol(world: World) -> Any:
    return aio.StreamReaderProtocol(None, loop=world.loop)


class ClosedTransport(asyncio.Transport):
    """What a writer that is forgotten does not close."""

    def is_closing(self) -> bool:
        return True


def stream_writer(world: World) -> Any:
    return aio.StreamWriter(ClosedTransport(), None, None, world.loop)


KINDS["StreamReaderCore"] = Kind(
    make=stream_reader,
    ways={"dictionary": having(stream_reader)},
    attributes=frozenset({"_loop", "_limit", "_buffer", "_waiter", "_exception", "_transport"}),
)
KINDS["StreamReaderProtocolCore"] = Kind(
    make=stream_protocol,
    ways={"dictionary": having(stream_protocol)},
    attributes=frozenset({"_loop", "_stream_reader_wr", "_drain_waiters"}),
)
KINDS["StreamWriterCore"] = Kind(
    make=stream_writer,
    ways={"dictionary": having(stream_writer)},
    attributes=frozenset({"_transport", "_protocol", "_reader", "_loop"}),
)
