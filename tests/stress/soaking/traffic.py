"""What goes over a connection, so that both ends know every byte beforehand; and what is counted on the way.

A client opens with `HELLO`: the connection's number, the size of question and answer, and what the server is
to do. Question and answer are bytes that follow from the number and the direction, so that a byte which
reaches a wrong peer is seen there.
"""

import enum
import hashlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TO_SERVER, TO_CLIENT = b"to server", b"to client"

#: Number, size, `Mode`.
HELLO = struct.Struct(">QIB3x")


def tag(number: int, direction: bytes) -> bytes:
    """The 32 bytes that connection *number* repeats in one *direction*."""
    return hashlib.blake2b(number.to_bytes(8, "big") + direction, digest_size=32).digest()


def tagged(number: int, direction: bytes, size: int, start: int = 0) -> bytes:
    """The bytes *start* to *start* + *size* of a connection in one *direction*."""
    block = tag(number, direction)
    skip = start % len(block)
    return (block * ((skip + size) // len(block) + 1))[skip : skip + size]


def reset_on_close(connection: Any) -> None:
    """Have the peer see RST instead of FIN when *connection* is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Mode(enum.IntEnum):
    """What the server does; the client asks for it in its first bytes."""

    ANSWER = 0  #: answers, then waits for the client to close
    ANSWER_AND_CLOSE = 1
    ANSWER_AND_HALF_CLOSE = 2
    ABORT = 3  #: aborts without reading further
    RESET = 4  #: the same with RST
    SILENCE = 5  #: reads and never answers


ANSWERS = {Mode.ANSWER, Mode.ANSWER_AND_CLOSE, Mode.ANSWER_AND_HALF_CLOSE}


@dataclass
class Tally:
    """What happened, counted, and everything that should not have."""

    opened: int = 0
    closed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        self.failures.append(text)
