"""Streams by Hypothesis: whatever is fed, sent, read, written and cancelled, all readers and writers tell one story.

Three kinds of programs: steps over a reader that is fed by hand; steps over a stream whose peer is a plain socket, turn
by turn; and one text in every way to split and end it. Results and exceptions are compared byte for byte.

``FERRIO_TEST_EXAMPLES`` is the number of random programs of each kind.
"""

import asyncio
import gc
import itertools
import os
import socket
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ferrio
from unit.socket_pairs import tcp_pair

from .conftest import NAME, NEW_LOOP
from .observation import Diary, in_words
from .protocols import reset, turns
from .streams import NAMESPACES, outcome, same_in, started, state, under_test

EXAMPLES = int(os.environ.get("FERRIO_TEST_EXAMPLES", "100"))

Step = tuple[Any, ...]

each_namespace = pytest.mark.parametrize("namespace", NAMESPACES)


@pytest.fixture(autouse=True)
def _little_to_collect() -> Iterator[None]:
    # Each play over sockets ends with a collection; what is there already is left out of those.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


# --- programs ---------------------------------------------------------------------------------------------------------

#: Separators, and letters of which some begin one.
pieces = st.sampled_from([b"a", b"bb", b"\n", b"\r", b"\r\n", b";", b"::", b":", b"x" * 9, b"y" * 40])
texts = st.lists(pieces, max_size=6).map(b"".join)
SEPARATORS: list[Any] = [b"\n", b"\r\n", b";", b"::", b"bb\n"]
if sys.version_info >= (3, 13):
    SEPARATORS += [(b"\n", b";"), (b"\r\n", b"\n"), (b"::", b":", b"bb::")]
sizes = st.sampled_from([0, 1, 2, 3, 7, 30, 100])
readings = st.one_of(
    st.tuples(st.just("read"), st.one_of(sizes, st.just(-1))),
    st.tuples(st.just("readexactly"), sizes),
    st.tuples(st.just("readline")),
    st.tuples(st.just("readuntil"), st.sampled_from(SEPARATORS)),
    st.tuples(st.just("__anext__")),
)
limits = st.sampled_from([1, 2, 3, 8, 20, 2**16])
#: Readings twice, so that bytes do not pile up.
shared = st.one_of(
    st.tuples(st.just("begin"), readings),
    st.tuples(st.just("begin"), readings),
    st.tuples(st.just("cancel"), st.integers(0, 2)),
)
fed_programs = st.lists(
    st.one_of(
        shared,
        shared,
        st.tuples(st.just("feed"), texts),
        st.tuples(st.just("feed"), texts),
        st.tuples(st.just("turn")),
        st.tuples(st.sampled_from(["eof", "turn", "fail"])),
    ),
    max_size=25,
)
socket_programs = st.lists(
    st.one_of(
        shared,
        shared,
        st.tuples(st.just("send"), texts),
        st.tuples(st.just("send long"), st.sampled_from([3_000, 5_000]), st.sampled_from([b"", b"\n"])),
        st.tuples(st.just("write"), texts),
        # What an empty line leaves behind in asyncio differs by release.
        st.tuples(st.just("writelines"), st.lists(texts.filter(bool), max_size=3)),
        st.tuples(st.just("write much")),
        st.tuples(st.sampled_from(["drain", "receive", "turn", "wait_closed"])),
        st.tuples(st.sampled_from(["end", "reset", "write_eof", "close", "turn", "turn", "turn"])),
    ),
    max_size=20,
)
many = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


# --- a reader that is fed by hand -------------------------------------------------------------------------------------


class Paused:
    """A transport that is paused and resumed, and no more."""

    def __init__(self, story: list[Any]) -> None:
        self.story = story

    def pause_reading(self) -> None:
        self.story.append("paused")

    def resume_reading(self) -> None:
        self.story.append("resumed")


class Fed:
    """A reader on a loop, the readings under way, and the story of what they came to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, namespace: Any, limit: int) -> None:
        self.story: list[Any] = []
        self.loop = loop
        self.reader: Any = namespace.StreamReader(limit=limit, loop=loop)
        self.reader.set_transport(Paused(self.story))
        self.tasks: list[asyncio.Task[Any]] = []

    def begin(self, reading: Step) -> None:
        self.tasks.append(self.loop.create_task(self.noted(len(self.tasks), *reading)))

    async def noted(self, number: int, name: str, *details: Any) -> None:
        try:
            self.story.append([number, await getattr(self.reader, name)(*details)])
        except (Exception, asyncio.CancelledError) as error:
            self.story.append([number, outcome(error)])

    def step(self, step: Step) -> None:
        match step:
            case ("begin", reading):
                self.begin(reading)
            case ("cancel", number):
                waiting = [task for task in self.tasks if not task.done()]
                self.story.append(bool(waiting) and waiting[number % len(waiting)].cancel())
            case ("feed", data):
                try:
                    self.reader.feed_data(data)
                except AssertionError as error:
                    self.story.append(outcome(error))
            case ("eof",):
                self.reader.feed_eof()
            case ("fail",):
                self.reader.set_exception(LookupError("set"))

    def turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def play(self, steps: list[Step]) -> list[Any]:
        """Take the steps, a turn after each that is a turn, and end."""
        for step in steps:
            self.story.append(step[0])
            self.step(step)
            if step[0] == "turn":
                self.turn()
            self.story.append(state(self.reader))
        self.turn()
        for task in self.tasks:
            task.cancel()
        for _ in range(4):
            self.turn()
        assert all(task.done() for task in self.tasks)
        return [*self.story, state(self.reader)]


class Loops:
    """A loop of each kind: making one takes longer than a program."""

    def __enter__(self) -> "Loops":
        self.oracle, self.ours = asyncio.SelectorEventLoop(), NEW_LOOP()
        return self

    def __exit__(self, *_: object) -> None:
        self.oracle.close()
        self.ours.close()

    def compare(self, namespace: Any, limit: int, steps: list[Step]) -> list[Any]:
        """Return asyncio's story; fail if that of *namespace* differs."""
        expected = Fed(self.oracle, asyncio, limit).play(steps)
        assert in_words(Fed(self.ours, namespace, limit).play(steps)) == in_words(expected), steps
        return expected


@pytest.fixture
def loops() -> Iterator[Loops]:
    with Loops() as both:
        yield both


@pytest.mark.timeout(600)
@each_namespace
@settings(many, max_examples=3 * EXAMPLES)
@given(limits, fed_programs)
def test_a_reader_that_is_fed(loops: Loops, namespace: str, limit: int, program: list[Step]) -> None:
    loops.compare(under_test(namespace), limit, program)


#: Bytes in which separators meet, overlap and are cut.
TEXT = b"a\r\nb:;"
#: What is read from it, one after the other until nothing is left.
PATTERNS: list[list[Step]] = [
    [("readline",)],
    [("readuntil", b"\r\n"), ("read", 1)],
    [("readexactly", 2)],
    [("read", 3), ("readuntil", b":;")],
    [("read", -1)],
    [("readuntil", SEPARATORS[-1]), ("readexactly", 1)],
]


def splits(text: bytes) -> Iterator[list[bytes]]:
    """Every way to cut *text* into pieces that are not empty."""
    for cuts in itertools.product([False, True], repeat=max(0, len(text) - 1)):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(text)]
        yield [text[begin:end] for begin, end in itertools.pairwise(places)]


@pytest.mark.timeout(600)
@each_namespace
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_every_split_and_every_end_of_a_text(loops: Loops, namespace: str, limit: int) -> None:
    stories = set()
    for length in range(len(TEXT) + 1):
        for chunks, pattern in itertools.product(splits(TEXT[:length]), PATTERNS):
            reading = itertools.cycle(pattern)
            steps: list[Step] = []
            for chunk in chunks:
                steps += [("begin", next(reading)), ("turn",), ("feed", chunk), ("turn",)]
            steps += [("eof",), ("turn",)]
            for _ in range(3):
                steps += [("begin", next(reading)), ("turn",)]
            stories.add(repr(loops.compare(under_test(namespace), limit, steps)))
    assert len(stories) > 100


# --- a stream over a socket -------------------------------------------------------------------------------------------

MUCH = b"m" * 1_500_000


class Conversation:
    """A stream, the plain socket at its other end, and what the program has begun."""

    def __init__(self, diary: Diary, reader: Any, writer: Any, peer: socket.socket) -> None:
        self.diary = diary
        self.reader = reader
        self.writer = writer
        self.peer = peer
        peer.setblocking(False)
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, name: str, awaitable: Any) -> None:
        self.tasks.append(started(self.diary, f"{name} {len(self.tasks)}", awaitable))

    def step(self, step: Step) -> None:
        match step:
            case ("begin", (name, *details)):
                self.begin(name, getattr(self.reader, name)(*details))
            case ("cancel", number):
                waiting = [task for task in self.tasks if not task.done()]
                self.diary("cancel", bool(waiting) and waiting[number % len(waiting)].cancel())
            case ("drain" | "wait_closed" as name,):
                self.begin(name, getattr(self.writer, name)())
            case ("write", data):
                self.writer.write(data)
            case ("writelines", lines):
                if not self.writer.is_closing():
                    self.writer.writelines(lines)
            case ("write much",):
                # When TCP has room again is a matter of time.
                if self.peer.family == socket.AF_UNIX:
                    self.writer.write(MUCH)
            case ("write_eof" | "close" as name,):
                getattr(self.writer, name)()
            case _:
                self.of_the_peer(step)

    def of_the_peer(self, step: Step) -> None:
        if self.peer.fileno() < 0:
            return
        match step:
            case ("send", data):
                self.peer.send(data)
            case ("send long", size, end):
                self.peer.send(b"z" * size + end)
            case ("receive",):
                self.receive()
            case ("end",):
                self.peer.shutdown(socket.SHUT_WR)
            case ("reset",):
                reset(self.peer)

    def receive(self) -> None:
        """Take what is there. How much that is when a lot is under way is the kernel's affair."""
        received = b""
        while len(received) < len(MUCH):
            try:
                part = self.peer.recv(1 << 20)
            except BlockingIOError:
                break
            if not part:
                self.diary("the peer's end")
                break
            received += part
        self.diary("received", received if len(received) < 1000 else "much")

    async def end(self) -> None:
        self.peer.close()
        self.writer.close()
        await turns(8)
        for task in self.tasks:
            task.cancel()
        await turns(8)
        self.diary("end", [task.done() for task in self.tasks], state(self.reader))


def conversation(program: list[Step], limit: int, *, tcp: bool) -> Any:
    async def play(diary: Diary, module: Any) -> None:
        ours, peer = tcp_pair() if tcp else socket.socketpair()
        diary.count_turns()
        story = Conversation(diary, *await module.open_connection(sock=ours, limit=limit), peer)
        for step in program:
            diary("step", step[0])
            with diary.raises("refused"):
                story.step(step)
            # What a step has caused has come before the next.
            await turns(4)
            diary("state", state(story.reader), story.writer.is_closing())
        await story.end()

    return play


@pytest.mark.timeout(600)
@each_namespace
@many
@given(limits, socket_programs, st.booleans())
def test_a_stream_over_a_socket(namespace: str, limit: int, program: list[Step], tcp: bool) -> None:
    same_in(under_test(namespace), conversation(program, limit, tcp=tcp))


class Careless(asyncio.StreamReader):
    """Forgets the last byte of what it held when the stream ended."""

    def feed_eof(self) -> None:
        del self._buffer[-1:]  # type: ignore[attr-defined]
        super().feed_eof()


def test_a_reader_that_loses_a_byte_is_found(loops: Loops) -> None:
    careless = types.SimpleNamespace(StreamReader=Careless)
    with pytest.raises(AssertionError):
        loops.compare(careless, 10, [("feed", b"ab"), ("eof",), ("begin", ("read", -1)), ("turn",)])


def test_the_loops_that_are_compared_differ() -> None:
    with Loops() as both:
        assert isinstance(both.ours, ferrio.Loop) == (NAME == "ferrio")
        assert not isinstance(both.oracle, ferrio.Loop)
