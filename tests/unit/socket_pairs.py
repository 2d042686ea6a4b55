"""Pairs of connected sockets for tests."""

import contextlib
import socket
from collections.abc import Iterator

Pair = tuple[socket.socket, socket.socket]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets over the loopback device."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


@contextlib.contextmanager
def without_blocking(ends: Pair) -> Iterator[Pair]:
    """Make both sockets non-blocking, and close them at the end."""
    for end in ends:
        end.setblocking(False)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def fill(sock: socket.socket) -> int:
    """Send until the buffer is full, and return the number of bytes."""
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 65536)
    except BlockingIOError:
        return sent


def drain(sock: socket.socket) -> int:
    """Receive until nothing is left, and return the number of bytes."""
    taken = 0
    try:
        while data := sock.recv(65536):
            taken += len(data)
    except BlockingIOError:
        pass
    return taken
