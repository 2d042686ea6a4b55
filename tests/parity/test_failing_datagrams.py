"""A datagram protocol that raises, each method in each state of its endpoint: who is told, and that it goes on.

As in `test_failing_streams`: a *story* is played with every method raising every kind of exception.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from .conftest import Play
from .failures import EXITS, FAILURES
from .observation import Diary
from .patience import until
from .protocols import fail_with, turns
from .test_datagrams import Noted


def crowdable(name: str) -> tuple[socket.socket, socket.socket]:
    """Two connected Unix sockets, the second of which has room for only a few datagrams."""
    near, far = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    for sock, side in ((near, "near"), (far, "far")):
        sock.bind(f"\0ferrio {os.getpid()} {name} {side}")
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    near.setblocking(False)
    far.setblocking(False)
    return near, far


class Case:
    """One endpoint of a story: the transport under test and the plain socket at the other end."""

    def __init__(self, diary: Diary, protocol: Noted) -> None:
        self.diary, self.loop, self.protocol = diary, diary.loop, protocol
        self.transport: Any = None

    async def connect(self) -> None:
        near, self.peer = crowdable(self.protocol.name)
        self.transport, _ = await self.loop.create_datagram_endpoint(lambda: self.protocol, sock=near)

    @contextlib.contextmanager
    def notes(self, event: str) -> Iterator[None]:
        """Write down whatever a call raises."""
        try:
            yield
        except BaseException as error:
            self.diary(event, error)

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            with contextlib.suppress(OSError):
                self.peer.send(data)

    def fill(self) -> None:
        """Send until there is no room, and too much for the protocol not to be paused.

        The lower limit lies above what some releases of asyncio go on counting when all is sent: each one's header.
        """
        self.transport.set_write_buffer_limits(high=400, low=100)
        while self.transport.get_write_buffer_size() <= 400:
            with self.notes("sendto"):
                self.transport.sendto(b"crowd" * 20)

    async def read_all(self) -> None:
        quiet = 0
        while quiet < 3:
            try:
                self.peer.recv(100)
            except OSError:
                quiet += 1
                await asyncio.sleep(0.001)

    async def lost(self) -> None:
        await until(self.protocol.lost.done)
        await turns(3)
        self.diary("state", "lost" if self.protocol.lost.done() else "not lost", self.transport.is_closing())

    def close(self) -> None:
        if not self.protocol.lost.done():
            self.transport.abort()
        self.peer.close()


async def receive(case: Case) -> None:
    case.send(b"first")
    await turns(3)
    case.send(b"second")
    await turns(3)
    case.transport.close()
    await case.lost()


async def receive_and_close_within(case: Case) -> None:
    fail = case.protocol.at["datagram_received"]

    def close_and_fail(transport: Any) -> None:
        transport.close()
        fail(transport)

    case.protocol.at["datagram_received"] = close_and_fail
    case.send(b"first")
    await turns(3)
    await case.lost()


async def receive_and_pause_within(case: Case) -> None:
    fail = case.protocol.at["datagram_received"]

    def pause_and_fail(transport: Any) -> None:
        transport.pause_reading()
        fail(transport)

    case.protocol.at["datagram_received"] = pause_and_fail
    case.send(b"first")
    await turns(3)
    case.send(b"second")
    case.protocol.at.clear()
    case.transport.resume_reading()
    await turns(3)
    case.transport.close()
    await case.lost()


async def send_to_nobody(case: Case) -> None:
    case.peer.close()
    for _ in range(2):
        with case.notes("sendto"):
            case.transport.sendto(b"nobody")
    await turns(2)
    case.transport.close()
    await case.lost()


async def wait_for_room(case: Case) -> None:
    case.fill()
    await turns(2)
    await case.read_all()
    case.send(b"goes on")
    await turns(3)
    case.transport.close()
    await case.lost()


async def wait_for_room_at_nobody(case: Case) -> None:
    case.fill()
    await turns(2)
    case.peer.close()
    await turns(4)
    case.transport.close()
    await case.lost()


async def wait_for_room_and_close(case: Case) -> None:
    case.fill()
    case.transport.close()
    await turns(2)
    await case.read_all()
    await case.lost()


async def wait_for_room_and_close_at_nobody(case: Case) -> None:
    case.fill()
    case.transport.close()
    await turns(2)
    case.peer.close()
    await case.lost()


async def wait_for_room_and_abort(case: Case) -> None:
    case.fill()
    case.transport.abort()
    await case.lost()


Story = Callable[[Case], Awaitable[None]]

WRITING = ["pause_writing", "resume_writing"]
STORIES: dict[Story, list[str]] = {
    receive: ["connection_made", "datagram_received", "connection_lost"],
    receive_and_close_within: ["datagram_received"],
    receive_and_pause_within: ["datagram_received"],
    send_to_nobody: ["error_received", "connection_lost"],
    wait_for_room: [*WRITING, "datagram_received", "connection_lost"],
    wait_for_room_at_nobody: [*WRITING, "error_received", "connection_lost"],
    wait_for_room_and_close: [*WRITING, "connection_lost"],
    wait_for_room_and_close_at_nobody: [*WRITING, "error_received", "connection_lost"],
    wait_for_room_and_abort: ["pause_writing", "connection_lost"],
}
ROWS = [(story, method) for story, methods in STORIES.items() for method in methods]
each_row = pytest.mark.parametrize(("story", "method"), ROWS, ids=[f"{s.__name__}-{m}" for s, m in ROWS])


def told(story: Story, method: str, exceptions: dict[str, Callable[[], BaseException]]) -> Callable[[Diary], Any]:
    async def play(diary: Diary) -> None:
        beside = Noted(diary, "beside")
        other = Case(diary, beside)
        await other.connect()
        for name, exception in exceptions.items():
            diary("case", name)
            case = Case(diary, Noted(diary, at={method: fail_with(exception())}))
            await case.connect()
            try:
                await story(case)
            finally:
                case.close()
            await turns(3)
            other.send(name.encode())
            await turns(3)
        other.close()
        await other.lost()

    return play


@each_row
def test_what_is_raised_is_told(scenario: Play, story: Story, method: str) -> None:
    seen = scenario(told(story, method, FAILURES))
    assert f"protocol.{method}" in seen.events


@each_row
def test_an_exit_leaves_the_loop_which_can_be_run_again(
    scenario_that_runs_again: Play, story: Story, method: str
) -> None:
    seen = scenario_that_runs_again(told(story, method, EXITS))
    assert f"protocol.{method}" in seen.events


def test_a_failing_protocol_in_debug_mode(scenario_in_debug: Play) -> None:
    scenario_in_debug(told(wait_for_room_and_close, "connection_lost", FAILURES))
