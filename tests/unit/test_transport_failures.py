"""A protocol that raises loses its own connection, and nothing else."""

import asyncio
import socket
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import run_until, turn

Loop = asyncio.AbstractEventLoop


class Theirs(Exception):
    pass


MESSAGES = {
    "data_received": "Fatal error: protocol.data_received() call failed.",
    "eof_received": "Fatal error: protocol.eof_received() call failed.",
    "get_buffer": "Fatal error: protocol.get_buffer() call failed.",
    "buffer_updated": "Fatal error: protocol.buffer_updated() call failed.",
}


def failing(method: str, exception: type[BaseException]) -> type[Recorder]:
    """A protocol that raises in one of its methods."""

    class Fails(Recorder):
        def fail(self, name: str) -> None:
            if name == method:
                raise exception(name)

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.fail("connection_made")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.fail("data_received")

        def eof_received(self) -> bool:
            super().eof_received()
            self.fail("eof_received")
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.fail("connection_lost")

    class BufferedFails(Fails, asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            self.fail("get_buffer")
            self.buffer = bytearray(10)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.fail("buffer_updated")

    return BufferedFails if "buffer" in method else Fails


@pytest.mark.parametrize("exception", [Theirs, OSError, GeneratorExit])
@pytest.mark.parametrize("method", MESSAGES)
def test_an_exception_in_a_protocol_ends_its_connection_only(
    loop: Loop, contexts: list[dict[str, Any]], method: str, exception: type[BaseException]
) -> None:
    other = connect(loop)
    connection = connect(loop, failing(method, exception))
    if method == "eof_received":
        connection.peer.shutdown(socket.SHUT_WR)
    else:
        connection.peer.send(b"data")
    run_until(loop, lambda: connection.protocol.is_lost)
    assert type(connection.protocol.lost_with) is exception
    assert connection.protocol.names.count("lost") == 1
    if exception is OSError:
        # An error of the connection, for all that asyncio knows.
        assert contexts == []
    else:
        (told,) = contexts
        assert told == {
            "message": MESSAGES[method],
            "exception": connection.protocol.lost_with,
            "transport": connection.transport,
            "protocol": connection.protocol,
        }
    assert connection.is_at_end()
    other.peer.send(b"alive")
    run_until(loop, lambda: other.protocol.received == b"alive")
    connection.peer.close()
    other.end()


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_an_exception_at_the_beginning_or_the_end_is_told_as_that_of_a_callback(
    loop: Loop, contexts: list[dict[str, Any]], method: str
) -> None:
    connection = connect(loop, failing(method, Theirs))
    connection.transport.close()
    run_until(loop, lambda: connection.protocol.is_lost)
    turn(loop)
    (told,) = contexts
    assert isinstance(told["exception"], Theirs)
    assert told["message"].startswith("Exception in callback ")
    assert connection.transport._sock is None
    assert connection.is_at_end()
    connection.peer.close()


def test_a_protocol_without_the_methods_fails_like_one_that_raises(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    lost: list[Any] = []

    class Bare:
        def connection_made(self, transport: Any) -> None:
            pass

        def connection_lost(self, exc: Any) -> None:
            lost.append(exc)

    connection = connect(loop, Bare)  # type: ignore[type-var]
    connection.peer.send(b"data")
    run_until(loop, lambda: lost)
    assert isinstance(lost[0], AttributeError)
    assert contexts[0]["exception"] is lost[0]
    connection.peer.close()
