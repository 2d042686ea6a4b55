"""A socket object that its owner closes or detaches under a transport: its number may be another socket's at once."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from .connections import Recorder
from .loops import run, run_until, turn
from .socket_pairs import Pair, drain

Loop = asyncio.AbstractEventLoop

give_up = pytest.mark.parametrize(
    "give_up", [socket.socket.close, lambda sock: os.close(sock.detach())], ids=["closed", "detached"]
)
GiveUp = Callable[[socket.socket], None]


class Buffered(asyncio.BufferedProtocol):
    buffer = bytearray(10)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        raise AssertionError(f"{nbytes} bytes of another connection")


class Endpoint(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)


@contextlib.contextmanager
def another_pair(number: int) -> Iterator[Pair]:
    """A connection of somebody else, whose one end has `number`."""
    pair = socket.socketpair()
    with pair[0], pair[1]:
        assert pair[0].fileno() == number
        for end in pair:
            end.setblocking(False)
        yield pair


def nothing_arrives(sock: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        sock.recv(1)


@give_up
def test_a_write_reaches_no_other_connection(loop: Loop, give_up: GiveUp) -> None:
    ours, peer = socket.socketpair()
    transport, protocol = run(loop, loop.create_connection(Recorder, sock=ours))
    number = ours.fileno()
    give_up(ours)
    with another_pair(number) as (_, their_peer):
        transport.write(b"not for them")
        run_until(loop, lambda: protocol.is_lost)
        assert isinstance(protocol.lost_with, OSError)
        assert protocol.lost_with.errno == errno.EBADF
        nothing_arrives(their_peer)
    peer.close()


@give_up
def test_a_large_write_of_a_mutable_buffer_reaches_no_other_connection(loop: Loop, give_up: GiveUp) -> None:
    ours, peer = socket.socketpair()
    transport, protocol = run(loop, loop.create_connection(Recorder, sock=ours))
    number = ours.fileno()
    give_up(ours)
    with another_pair(number) as (_, their_peer):
        transport.write(bytearray(200_000))
        run_until(loop, lambda: protocol.is_lost)
        nothing_arrives(their_peer)
    peer.close()


@give_up
def test_the_end_of_writing_ends_no_other_connection(loop: Loop, give_up: GiveUp) -> None:
    ours, peer = socket.socketpair()
    transport, _ = run(loop, loop.create_connection(Recorder, sock=ours))
    number = ours.fileno()
    give_up(ours)
    with another_pair(number) as (_, their_peer):
        with pytest.raises(OSError, match="Bad file descriptor"):
            transport.write_eof()
        nothing_arrives(their_peer)
    transport.abort()
    turn(loop, 2)
    peer.close()


@give_up
@pytest.mark.parametrize("protocol_class", [Recorder, Buffered])
def test_nothing_is_received_of_another_connection(
    loop: Loop, give_up: GiveUp, protocol_class: type[asyncio.BaseProtocol]
) -> None:
    ours, peer = socket.socketpair()
    transport, _ = run(loop, loop.create_connection(protocol_class, sock=ours))
    transport.pause_reading()
    number = ours.fileno()
    give_up(ours)
    with another_pair(number) as (theirs, their_peer):
        their_peer.send(b"for them")
        transport.resume_reading()
        run_until(loop, transport.is_closing)
        turn(loop, 2)
        assert theirs.recv(100) == b"for them"
    peer.close()


def test_what_waits_to_be_sent_ends_with_a_socket_that_was_detached(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    transport, protocol = run(loop, loop.create_connection(Recorder, sock=ours))
    peer.setblocking(False)
    transport.write(b"x" * 10_000_000)
    with socket.socket(fileno=ours.detach()):
        sent = drain(peer)
        run_until(loop, lambda: protocol.is_lost)
        assert isinstance(protocol.lost_with, OSError)
        assert protocol.lost_with.errno == errno.EBADF
        assert sent + drain(peer) < 10_000_000
    peer.close()


@give_up
def test_a_datagram_leaves_by_no_other_socket(loop: Loop, give_up: GiveUp) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        transport, protocol = run(loop, loop.create_datagram_endpoint(Endpoint, sock=ours))
        number = ours.fileno()
        give_up(ours)
        with another_pair(number):
            transport.sendto(b"from nobody", peer.getsockname())
            turn(loop, 2)
            nothing_arrives(peer)
        assert [error.errno for error in protocol.errors if isinstance(error, OSError)] == [errno.EBADF]
        transport.abort()
        turn(loop, 2)
