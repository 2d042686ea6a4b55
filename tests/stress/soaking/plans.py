"""What one client connection will do, drawn beforehand."""

import random
import socket
from dataclasses import dataclass
from typing import Any

from .traffic import HELLO, TO_CLIENT, TO_SERVER, Mode, Tally, tagged

WAYS = ["protocol", "streams", "socket", "adopted socket"]
ENDS = ["orderly", "half-close", "abort", "reset", "cancel", "timeout"]


@dataclass
class Plan:
    """One connection, decided beforehand."""

    number: int
    address: tuple[str, int]
    way: str
    mode: Mode
    end: str
    size: int
    cancelled_at: int  #: the suspension at which the task is cancelled; 0 for never
    cancelled_after_turns: int
    timeout_s: float
    phase: str = "connecting"  #: where the client is, for the count of cancellations
    received: int = 0

    @property
    def hello(self) -> bytes:
        return HELLO.pack(self.number, self.size, self.mode)

    @property
    def question(self) -> bytes:
        return tagged(self.number, TO_SERVER, self.size)

    @property
    def is_broken_off(self) -> bool:
        """Whether the client goes away without waiting for the answer."""
        return self.end in ("abort", "reset")

    @property
    def is_answered(self) -> bool:
        """Whether nothing more needs to be read; a half-closed client reads until the server closes too."""
        return self.end != "half-close" and self.received >= self.size

    def prepare(self, connection: Any) -> None:
        """Make the kernel's buffer for a long question small, so that writing has to wait."""
        if self.size > 65536:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)

    def check(self, data: bytes, tally: Tally) -> None:
        """Count received *data* and compare it with what this connection must carry there."""
        if data != tagged(self.number, TO_CLIENT, len(data), self.received):
            tally.fail(f"client: wrong bytes on connection {self.number} ({self.way})")
        self.received += len(data)


def draw_plan(number: int, addresses: list[tuple[str, int]], chance: random.Random) -> Plan:
    index = chance.randrange(len(addresses))
    mode = chance.choices(list(Mode), [8, 4, 3, 2, 2, 2])[0]
    if mode is Mode.SILENCE:
        end = chance.choice(["half-close", "abort", "reset"])
    else:
        end = chance.choices(ENDS, [6, 3, 2, 2, 8, 1])[0]
    weights = [50, 110, 4, 6 if end in ("cancel", "timeout") else 0.3]
    size = chance.choices([1, chance.randrange(1, 4096), 65536, 1024 * 1024], weights)[0]
    return Plan(
        number=number,
        address=addresses[index],
        way=chance.choice(WAYS),
        mode=mode,
        end=end,
        size=size,
        cancelled_at=chance.randrange(1, 8 if size > 65536 else 5) if end == "cancel" else 0,
        cancelled_after_turns=chance.choice([-1, 0, 1, 2]),
        timeout_s=chance.uniform(0, 0.02),
    )
