"""Sockets that a program passes to a transport: which are refused, what is changed, what is closed after a failure."""

import asyncio
import gc
import os
import socket

import pytest

from .connections import Recorder, connect
from .loops import run, run_until, turn

Loop = asyncio.AbstractEventLoop


class Theirs(Exception):
    pass


def test_two_transports_of_one_open_file_do_not_disturb_one_another(loop: Loop) -> None:
    connection = connect(loop)
    again = socket.socket(fileno=os.dup(connection.transport._sock_fd))
    second, protocol = run(loop, loop.create_connection(Recorder, sock=again))
    second.pause_reading()
    second.write(b"from the second")
    assert connection.receive(15) == b"from the second"
    second.abort()
    run_until(loop, lambda: protocol.is_lost)
    connection.peer.send(b"alive")
    run_until(loop, lambda: connection.protocol.received == b"alive")
    connection.end()


def test_a_closed_socket_is_refused(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with pytest.raises((OSError, ValueError)):
        run(loop, loop.create_connection(Recorder, sock=ours))
    theirs.close()


def test_a_socket_of_another_kind_is_refused(loop: Loop) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="A Stream Socket was expected"),
    ):
        run(loop, loop.create_connection(Recorder, sock=sock))


def test_a_blocking_socket_is_made_non_blocking(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    transport, _ = run(loop, loop.create_connection(Recorder, sock=ours))
    assert transport.get_extra_info("socket").gettimeout() == 0
    transport.abort()
    theirs.close()
    turn(loop, 2)


def test_a_factory_that_fails_closes_nothing_of_the_callers(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    def fail() -> Recorder:
        raise Theirs

    with pytest.raises(Theirs):
        run(loop, loop.create_connection(fail, sock=ours))
    ours.close()
    theirs.close()


def test_a_cancelled_create_connection_closes_its_socket(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:

        async def main() -> None:
            connecting = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

        run(loop, main())
        turn(loop, 5)
        gc.collect()
