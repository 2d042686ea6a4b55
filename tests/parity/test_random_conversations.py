"""Conversations by dice: whatever two connected transports do to one another, both loops tell the same story.

One thing is done in each turn, so that the story does not depend on what happens first within a callback.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import Noted, NotedBuffered, turns


def write_unless_ended(transport: Any) -> None:
    if not transport._eof:
        transport.write(b"later")


#: What can be done to a transport, and how often it is.
ACTIONS: list[tuple[int, str, Callable[[Any, random.Random], object]]] = [
    (30, "write", lambda transport, dice: transport.write(dice.randbytes(dice.choice([0, 1, 100, 5000])))),
    (10, "write later", lambda transport, dice: transport._loop.call_later(0, write_unless_ended, transport)),
    (10, "writelines", lambda transport, dice: transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])),
    (6, "pause", lambda transport, dice: transport.pause_reading()),
    (8, "resume", lambda transport, dice: transport.resume_reading()),
    (4, "limits", lambda transport, dice: transport.set_write_buffer_limits(high=dice.randrange(10_000))),
    (2, "write_eof", lambda transport, dice: transport.write_eof()),
    (1, "close", lambda transport, dice: transport.close()),
    (1, "abort", lambda transport, dice: transport.abort()),
    (3, "protocol", lambda transport, dice: transport.set_protocol(transport.get_protocol())),
]


def act(diary: Diary, name: str, transport: Any, dice: random.Random) -> None:
    """Perform one action."""
    (action,) = dice.choices(ACTIONS, [weight for weight, _, _ in ACTIONS])
    _, what, call = action
    diary("act", name, what)
    if transport._loop is None or transport._sock is None or transport.is_closing():
        # What asyncio does to a transport that is over is an accident.
        return
    if what == "resume" and transport.get_protocol().is_ended:
        # asyncio reads the same end of the stream again.
        return
    try:
        call(transport, dice)
    except RuntimeError as error:
        diary("refused", name, error)


@pytest.mark.parametrize("kind", [Noted, NotedBuffered])
@pytest.mark.parametrize("seed", range(12))
def test_with_little_data(scenario: Play, seed: int, kind: type[Noted]) -> None:
    async def play(diary: Diary) -> None:
        dice = random.Random(seed)
        protocols = [kind(diary, name, keep_open=dice.randrange(2) == 0) for name in ("left", "right")]
        for protocol, sock in zip(protocols, socket.socketpair(), strict=True):
            await diary.loop.create_connection(lambda protocol=protocol: protocol, sock=sock)
        diary.count_turns()
        for _ in range(120):
            protocol = dice.choice(protocols)
            if protocol.transport._sock is not None:
                act(diary, protocol.name, protocol.transport, dice)
            # The answer has come before the next thing is done.
            await turns(dice.choice([2, 2, 3]))
        for protocol in protocols:
            protocol.transport.abort()
        await asyncio.gather(*(protocol.lost for protocol in protocols))
        diary("received", *(len(protocol.received) for protocol in protocols))

    scenario(play)


@pytest.mark.parametrize("seed", range(8))
def test_with_much_data(scenario: Play, seed: int) -> None:
    async def play(diary: Diary) -> list[Any]:
        dice = random.Random(seed)
        quiet = Diary(diary.loop)
        left, right = (Noted(quiet, name, keep_open=True) for name in ("left", "right"))
        for protocol, sock in zip((left, right), socket.socketpair(), strict=True):
            await diary.loop.create_connection(lambda protocol=protocol: protocol, sock=sock)
        sent = {left: bytearray(), right: bytearray()}
        for _ in range(40):
            protocol = dice.choice([left, right])
            match dice.randrange(5):
                case 0 | 1:
                    data = dice.randbytes(dice.choice([10, 70_000, 300_000]))
                    protocol.transport.write(data)
                    sent[protocol] += data
                case 2:
                    lines = [dice.randbytes(dice.randrange(5000)) for _ in range(dice.randrange(50))]
                    protocol.transport.writelines(lines)
                    sent[protocol] += b"".join(lines)
                case 3:
                    protocol.transport.pause_reading()
                case 4:
                    protocol.transport.resume_reading()
            await turns(dice.randrange(3))
        for protocol in (left, right):
            protocol.transport.resume_reading()
            protocol.transport.write_eof()
        while len(left.received) < len(sent[right]) or len(right.received) < len(sent[left]):
            await asyncio.sleep(0)
        same = [left.received == sent[right], right.received == sent[left]]
        for protocol in (left, right):
            protocol.transport.close()
            await protocol.lost
        # Pauses and resumptions alternate, whenever they come.
        for name in ("left", "right"):
            told = [entry[0].partition(".")[2] for entry in quiet.entries if entry[0].startswith(name + ".")]
            flow = [event for event in told if event.endswith("_writing")]
            diary(name, flow[0::2].count("resume_writing"), flow[1::2].count("pause_writing"), told[-1])
        return [*same, len(left.received), len(right.received)]

    seen = scenario(play)
    assert seen.result[:2] == [True, True]
