"""A protocol over TLS that raises, each method in each state of its connection, at either end.

As in `test_failing_streams`: a *story* is played with every method raising every kind of exception. The transport below
is the loop's, `SSLProtocol` between the two is asyncio's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from frameworks.certificates import Certificates
from unit.socket_pairs import tcp_pair

from .conftest import Play
from .failures import EXITS, FAILURES
from .observation import Diary
from .patience import until
from .protocols import Noted, NotedBuffered, fail_with, turns

pytestmark = pytest.mark.usefixtures("tls_engine")

PATIENCE_SLEEPS = 150


class NotedBufferedOverTls(NotedBuffered):
    """As `NotedBuffered`, but for the hint: it counts encrypted bytes, with what is left of the handshake."""

    def get_buffer(self, sizehint: int) -> Any:
        return super().get_buffer(-1)


class Case:
    """Two ends of one connection over TLS, both the loop's; the first has the protocol under test."""

    def __init__(self, diary: Diary, certificates: Certificates, protocol: Noted, *, serves: bool) -> None:
        self.diary, self.loop, self.certificates = diary, diary.loop, certificates
        self.protocol, self.serves = protocol, serves
        # It stays silent: the order of what happens at the two ends is not the point.
        self.other_protocol = asyncio.Protocol()
        self.transport: Any = None
        self.other: Any = None

    async def connect(self) -> None:
        ours, theirs = tcp_pair()
        self.transport, self.other = await asyncio.gather(
            self.end(ours, self.protocol, serves=self.serves),
            self.end(theirs, self.other_protocol, serves=not self.serves),
        )

    async def end(self, sock: Any, protocol: asyncio.BaseProtocol, *, serves: bool) -> Any:
        if serves:
            context = self.certificates.server_context()
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
        else:
            context, name = self.certificates.client_context(), "localhost"
            transport, _ = await self.loop.create_connection(
                lambda: protocol, sock=sock, ssl=context, server_hostname=name
            )
        return transport

    async def until(self, is_there: Callable[[], object]) -> None:
        await until(is_there, PATIENCE_SLEEPS)

    async def lost(self) -> None:
        await self.until(self.protocol.lost.done)
        await turns(3)
        self.diary("state", "lost" if self.protocol.lost.done() else "not lost", self.transport.is_closing())

    async def close(self) -> None:
        for transport in (self.transport, self.other):
            if transport is not None:
                transport.abort()
        await turns(4)


async def talk(case: Case) -> None:
    for data, count in ((b"data", 4), (b"more", 8)):
        case.other.write(data)
        await case.until(lambda: len(case.protocol.received) >= count or case.transport.is_closing())
    case.other.close()
    await case.lost()


async def close(case: Case) -> None:
    case.transport.close()
    await case.lost()


async def the_other_aborts(case: Case) -> None:
    case.other.abort()
    await case.lost()


async def fill(case: Case) -> None:
    """Write until the transport below accepts no more, and then until the protocol is paused."""
    case.other.pause_reading()
    case.transport.set_write_buffer_limits(high=1000, low=100)
    for _ in range(2):
        case.transport.write(bytes(6 << 20))
        await turns(3)


async def write_and_close(case: Case) -> None:
    await fill(case)
    case.other.resume_reading()
    await case.until(lambda: case.protocol.lost.done() or not case.transport.get_write_buffer_size())
    await turns(3)
    case.transport.close()
    await case.lost()


async def write_and_abort(case: Case) -> None:
    await fill(case)
    case.transport.abort()
    await case.lost()


Story = Callable[[Case], Awaitable[None]]

STORIES: dict[Story, list[str]] = {
    talk: ["connection_made", "data_received", "eof_received", "get_buffer", "buffer_updated", "connection_lost"],
    close: ["connection_lost"],
    the_other_aborts: ["connection_lost"],
    write_and_close: ["pause_writing", "resume_writing", "connection_lost"],
    write_and_abort: ["pause_writing", "connection_lost"],
}
ROWS = [(story, method) for story, methods in STORIES.items() for method in methods]
each_row = pytest.mark.parametrize(("story", "method"), ROWS, ids=[f"{s.__name__}-{m}" for s, m in ROWS])


def told(
    story: Story, method: str, certificates: Certificates, exceptions: dict[str, Callable[[], BaseException]]
) -> Callable[[Diary], Any]:
    kind = NotedBufferedOverTls if "buffer" in method else Noted

    async def play(diary: Diary) -> None:
        for number, (name, exception) in enumerate(exceptions.items()):
            diary("case", name)
            protocol = kind(diary, at={method: fail_with(exception())})
            case = Case(diary, certificates, protocol, serves=number % 2 == 1)
            try:
                # An exception of `connection_made` is what making the connection raises.
                with diary.raises("connecting"):
                    await case.connect()
                    await story(case)
            finally:
                await case.close()

    return play


@each_row
def test_what_is_raised_is_told_and_ends_one_connection(
    scenario: Play, certificates: Certificates, story: Story, method: str
) -> None:
    seen = scenario(told(story, method, certificates, FAILURES))
    assert f"protocol.{method}" in seen.events


# Exits from where asyncio's `SSLProtocol` stays in a state of its own making are left out.
@pytest.mark.parametrize(
    ("story", "method"), [(talk, "data_received"), (close, "connection_lost"), (the_other_aborts, "connection_lost")]
)
def test_an_exit_leaves_the_loop_which_can_be_run_again(
    scenario_that_runs_again: Play, certificates: Certificates, story: Story, method: str
) -> None:
    seen = scenario_that_runs_again(told(story, method, certificates, EXITS))
    assert seen.events.count("left the loop") == len(EXITS)
