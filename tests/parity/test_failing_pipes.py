"""A pipe's or a child's protocol that raises, each method in each state: who is told, and that the transport goes on.

As in `test_failing_streams`: a *story* is played with every method raising every kind of exception.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from .conftest import Play
from .failures import EXITS, FAILURES
from .observation import Diary
from .patience import until
from .protocols import Noted, fail_with, turns


class Case:
    """One pipe of a story: the transport under test and the other end's descriptor."""

    def __init__(self, diary: Diary, protocol: Noted, *, reads: bool) -> None:
        self.diary, self.loop, self.protocol, self.reads = diary, diary.loop, protocol, reads
        self.transport: Any = None

    async def connect(self) -> None:
        reading, writing = os.pipe()
        if self.reads:
            self.other = writing
            pipe = open(reading, "rb", 0)  # noqa: SIM115
            self.transport, _ = await self.loop.connect_read_pipe(lambda: self.protocol, pipe)
        else:
            self.other = reading
            os.set_blocking(reading, False)
            pipe = open(writing, "wb", 0)  # noqa: SIM115
            self.transport, _ = await self.loop.connect_write_pipe(lambda: self.protocol, pipe)

    @contextlib.contextmanager
    def notes(self, event: str) -> Iterator[None]:
        """Write down whatever a call raises."""
        try:
            yield
        except BaseException as error:
            self.diary(event, error)

    def fill(self) -> None:
        while not self.transport.get_write_buffer_size():
            with self.notes("write"):
                self.transport.write(bytes(150_000))

    async def read_all(self) -> None:
        quiet = 0
        while quiet < 3:
            try:
                quiet += not os.read(self.other, 1 << 20)
            except BlockingIOError:
                quiet += 1
            await asyncio.sleep(0.001)

    def leave(self) -> None:
        if self.other >= 0:
            os.close(self.other)
            self.other = -1

    async def lost(self) -> None:
        await until(self.protocol.lost.done)
        await turns(3)
        self.diary("state", "lost" if self.protocol.lost.done() else "not lost", self.transport.is_closing())

    def close(self) -> None:
        if not self.protocol.lost.done():
            self.transport.close() if self.reads else self.transport.abort()
        self.leave()


async def read(case: Case) -> None:
    for data in (b"first", b"second"):
        os.write(case.other, data)
        await turns(3)
    case.leave()
    await case.lost()


async def read_much(case: Case) -> None:
    os.write(case.other, bytes(60_000))
    await turns(3)
    os.write(case.other, bytes(60_000))
    await turns(3)
    case.leave()
    await case.lost()


async def pause_and_close(case: Case) -> None:
    case.transport.pause_reading()
    os.write(case.other, b"data")
    await turns(2)
    case.transport.resume_reading()
    await turns(2)
    case.transport.close()
    await case.lost()


async def close_within(case: Case) -> None:
    fail = case.protocol.at.get("data_received", lambda _: None)

    def close_and_fail(transport: Any) -> None:
        transport.close()
        fail(transport)

    case.protocol.at["data_received"] = close_and_fail
    os.write(case.other, b"data")
    await turns(3)
    await case.lost()


async def write(case: Case) -> None:
    case.fill()
    await case.read_all()
    case.transport.close()
    await case.lost()


async def write_and_close(case: Case) -> None:
    case.fill()
    case.transport.close()
    await case.read_all()
    await case.lost()


async def write_and_end(case: Case) -> None:
    case.fill()
    case.transport.write_eof()
    await case.read_all()
    await case.lost()


async def write_to_nobody(case: Case) -> None:
    case.leave()
    with case.notes("write"):
        case.transport.write(b"nobody")
    await case.lost()


async def write_and_the_reader_leaves(case: Case) -> None:
    case.fill()
    await turns(2)
    case.leave()
    await case.lost()


async def write_and_abort(case: Case) -> None:
    case.fill()
    case.transport.abort()
    await case.lost()


Story = Callable[[Case], Awaitable[None]]

ENDS = ["connection_made", "connection_lost"]
WRITING = ["pause_writing", "resume_writing", "connection_lost"]
READERS: dict[Story, list[str]] = {
    read: ["data_received", "eof_received", *ENDS],
    read_much: ["data_received"],
    pause_and_close: ["data_received", "connection_lost"],
    close_within: ["data_received", "connection_lost"],
}
WRITERS: dict[Story, list[str]] = {
    write: ["connection_made", *WRITING],
    write_and_close: WRITING,
    write_and_end: WRITING,
    write_to_nobody: ["connection_lost"],
    write_and_the_reader_leaves: ["pause_writing", "connection_lost"],
    write_and_abort: ["pause_writing", "connection_lost"],
}
ROWS = [(story, method) for table in (READERS, WRITERS) for story, methods in table.items() for method in methods]


def each_row(rows: list[tuple[Story, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("story", "method"), rows, ids=[f"{s.__name__}-{m}" for s, m in rows])


def told(story: Story, method: str, exceptions: dict[str, Callable[[], BaseException]]) -> Callable[[Diary], Any]:
    async def play(diary: Diary) -> None:
        other = Case(diary, Noted(diary, "beside"), reads=True)
        await other.connect()
        for name, exception in exceptions.items():
            diary("case", name)
            protocol = Noted(diary, at={method: fail_with(exception())})
            case = Case(diary, protocol, reads=story in READERS)
            await case.connect()
            try:
                await story(case)
            finally:
                case.close()
            await turns(3)
            os.write(other.other, name.encode())
            await turns(3)
        other.leave()
        await other.lost()

    return play


@each_row(ROWS)
def test_what_is_raised_is_told(scenario: Play, story: Story, method: str) -> None:
    seen = scenario(told(story, method, FAILURES))
    assert f"protocol.{method}" in seen.events


# After an exit from `resume_writing` asyncio's transport, whose code this is, fails an assertion in each turn.
@each_row([(story, method) for story, method in ROWS if method != "resume_writing"])
def test_an_exit_leaves_the_loop_which_can_be_run_again(
    scenario_that_runs_again: Play, story: Story, method: str
) -> None:
    seen = scenario_that_runs_again(told(story, method, EXITS))
    assert f"protocol.{method}" in seen.events


#: Answers a line, closes its output, and ends when its input does: each in a moment of its own.
CHILD = "import os, sys; line = os.read(0, 9); os.write(1, line); os.close(1); os.read(0, 9); sys.exit(3)"


class NotedChild(asyncio.SubprocessProtocol):
    """Writes down each call, and acts as *at* says."""

    def __init__(self, diary: Diary, at: dict[str, Callable[[Any], object]]) -> None:
        self.diary, self.at = diary, at
        self.transport: Any = None
        self.happened: dict[str, asyncio.Event] = {}

    def note(self, event: str, *details: Any) -> None:
        self.diary(event, *details)
        self.event(event).set()
        if act := self.at.get(event):
            act(self.transport)

    def event(self, name: str) -> asyncio.Event:
        return self.happened.setdefault(name, asyncio.Event())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("connection_made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.note("pipe_data_received", fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.event(f"end of {fd}").set()
        self.note("pipe_connection_lost", fd, exc)

    def process_exited(self) -> None:
        self.note("process_exited", self.transport.get_returncode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("connection_lost", exc)


def live_of_a_child(exception: Callable[[], BaseException], method: str) -> Callable[[Diary], Any]:
    async def play(diary: Diary) -> None:
        protocol = NotedChild(diary, {method: fail_with(exception())})
        command = [sys.executable, "-I", "-S", "-c", CHILD]
        transport, _ = await diary.loop.subprocess_exec(lambda: protocol, *command, stderr=None)
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"line")
        await protocol.event("end of 1").wait()
        stdin.close()
        await protocol.event("end of 0").wait()
        await protocol.event("process_exited").wait()
        await until(protocol.event("connection_lost").is_set)
        transport.close()
        await turns(3)

    return play


CHILDRENS = ["connection_made", "pipe_data_received", "pipe_connection_lost", "process_exited", "connection_lost"]


@pytest.mark.parametrize("method", CHILDRENS)
@pytest.mark.parametrize("exception", FAILURES.values(), ids=FAILURES)
def test_what_a_childs_protocol_raises_is_told(
    scenario: Play, exception: Callable[[], BaseException], method: str
) -> None:
    scenario(live_of_a_child(exception, method))


@pytest.mark.parametrize("method", CHILDRENS)
def test_an_exit_from_a_childs_protocol_leaves_the_loop(scenario_that_runs_again: Play, method: str) -> None:
    seen = scenario_that_runs_again(live_of_a_child(EXITS["KeyboardInterrupt"], method))
    assert seen.events.count("left the loop") == 1
