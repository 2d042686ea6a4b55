"""asyncio's own stream reader, which the transport fills without calling Python: nothing of that is to be seen.

A *story* takes one connection from its first byte to its end and looks at the reader after each step. It is played with
each *oddity*, something that a program may do to a reader or its protocol, from the beginning and from the middle.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from unit.socket_pairs import tcp_pair

from .conftest import Play
from .observation import Diary
from .protocols import Noted, reset, turns

LIMIT_BYTES = 100
#: How long to wait for what may never come.
PATIENCE_S = 0.05
KIB = 1 << 10


class Case:
    """A connection whose reader is asyncio's, and the socket at its other end."""

    def __init__(self, diary: Diary) -> None:
        self.diary, self.loop = diary, diary.loop
        self.undoing = contextlib.ExitStack()
        #: What a test keeps alive.
        self.kept: list[Any] = []

    async def connect(self) -> None:
        ours, self.peer = tcp_pair()
        self.peer.setblocking(False)
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.reader: Any
        self.reader, self.writer = await asyncio.open_connection(sock=ours, limit=LIMIT_BYTES)
        self.transport: Any = self.writer.transport
        self.protocol: Any = self.transport.get_protocol()

    def patch(self, target: Any, name: str, value: Any) -> None:
        self.undoing.enter_context(mock.patch.object(target, name, value))

    def note_calls(self, target: Any, name: str) -> Callable[..., Any]:
        """A function that writes its call down and calls what *target* has under the name."""
        original = getattr(target, name)

        def noted(*args: Any) -> Any:
            self.diary(name, *[(len(arg), arg[:20]) for arg in args if isinstance(arg, bytes)])
            return original(*args)

        return noted

    @property
    def is_over(self) -> bool:
        return self.transport.is_closing()  # type: ignore[no-any-return]

    def look(self, event: str) -> None:
        reader = self.reader
        if reader is None:
            self.diary(event, self.transport.is_reading(), self.is_over)
            return
        buffer, waiter = reader._buffer, reader._waiter
        self.diary(
            event,
            [type(buffer), len(buffer), bytes(buffer[:20]), bytes(buffer[-3:])],
            [reader._eof, reader.at_eof(), reader._exception, reader._paused],
            None if waiter is None else type(waiter).__name__,
            [self.transport.is_reading(), self.is_over],
        )

    async def receive(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.peer.send(data)
        await turns(3)
        self.look(f"received {len(data)}")

    async def wait_for(self, event: str, reading: Any, data: bytes, *, cancel: bool = False) -> None:
        """Have a task read, then send; write down in which turn it ends, and with what."""
        task = self.loop.create_task(reading)
        await turns(2)
        self.look(f"{event} waits")
        with contextlib.suppress(OSError):
            self.peer.send(data)
        if cancel:
            task.cancel()
        for turn in range(6):
            if task.done():
                self.diary(event, f"turn {turn}")
                break
            await asyncio.sleep(0)
        else:
            self.diary(event, "waits for ever")
            task.cancel()
        with self.diary.raises(event):
            self.diary(event, await task)
        self.look(event)

    async def ends(self) -> None:
        self.peer.close()
        await turns(4)
        self.look("peer closed")
        if self.reader is not None:
            with self.diary.raises("read to the end"):
                async with asyncio.timeout(PATIENCE_S):
                    self.diary("rest", await self.reader.read())
        self.writer.close()
        with self.diary.raises("wait_closed"):
            await self.writer.wait_closed()
        self.undoing.close()


async def first_half(case: Case) -> None:
    await case.receive(b"first")
    if case.reader is None:
        return
    await case.wait_for("read of what is there", case.reader.read(3), b"")
    await case.wait_for("read", case.reader.read(1000), b"second")
    await case.wait_for("next read", case.reader.read(1000), b"third")
    await case.wait_for("cancelled read", case.reader.read(1000), b"fourth", cancel=True)
    # Up to twice the limit, and beyond.
    await case.receive(b"x" * (2 * LIMIT_BYTES - len(case.reader._buffer)))
    await case.receive(b"y")
    await case.receive(b"z" * LIMIT_BYTES)
    await case.wait_for("part", case.reader.readexactly(LIMIT_BYTES), b"")
    await case.wait_for("rest", case.reader.readexactly(2 * LIMIT_BYTES + 1), b"")


async def second_half(case: Case) -> None:
    if case.reader is None:
        await case.receive(b"to nobody")
        return
    await case.wait_for("line", case.reader.readline(), b"a line\nand")
    await case.wait_for("until", case.reader.readuntil(b"\r\n"), b" more\r\n")
    await case.wait_for("long line", case.reader.readline(), b"l" * 250 + b"\n")
    await case.wait_for("endless line", case.reader.readuntil(b"\n"), b"e" * 250)
    await case.wait_for("exactly", case.reader.readexactly(300), b"f" * 50)
    # What arrives at once; how the kernel cuts more than that is not the same twice.
    for size in (4 * KIB, 16 * KIB, 32 * KIB):
        await case.receive(bytes(size))
        if case.is_over:
            break
        with case.diary.raises("much"):
            async with asyncio.timeout(PATIENCE_S):
                case.diary("much", len(await case.reader.readexactly(size)))
    await case.receive(b"left over")


class OtherBuffer(bytearray):
    pass


class CannotPause:
    """A transport that cannot pause says so by this exception; a reader does not ask it again."""

    def pause_reading(self) -> None:
        raise NotImplementedError


class Unpausable:
    def pause_reading(self) -> None:
        raise ValueError("theirs")


def done_future(case: Case) -> Any:
    future = case.loop.create_future()
    future.set_result("before")
    return future


def replace_call_soon(case: Case) -> None:
    original = case.loop.call_soon
    case.loop.call_soon = lambda *args, **options: original(*args, **options)  # type: ignore[method-assign]


def forget_reader(case: Case) -> None:
    case.reader = None
    case.protocol._strong_reader = None
    case.writer._reader = None  # type: ignore[attr-defined]


def switch_protocol(case: Case) -> None:
    other = Noted(case.diary)
    case.transport.set_protocol(other)
    case.loop.call_soon(case.transport.set_protocol, case.protocol)


def feed_by_hand(case: Case) -> None:
    case.reader.feed_data(b"by hand")


def be_derived(case: Case) -> None:
    class Reader(asyncio.StreamReader):
        def feed_data(self, data: Any) -> None:
            case.diary("derived", len(data))
            super().feed_data(data)

    case.reader.__class__ = Reader


def be_derived_protocol(case: Case) -> None:
    class Protocol(asyncio.StreamReaderProtocol):
        def data_received(self, data: bytes) -> None:
            case.diary("derived", len(data))
            super().data_received(data)

    case.protocol.__class__ = Protocol


def watch_waiter(case: Case) -> None:
    def create_future() -> Any:
        future = original()
        future.add_done_callback(lambda done: case.diary("future done", done.cancelled(), case.reader._waiter is done))
        return future

    original = case.loop.create_future
    case.patch(case.loop, "create_future", create_future)


def see_sets(case: Case) -> None:
    def set_attribute(self: Any, name: str, value: object) -> None:
        case.diary("set", name)
        object.__setattr__(self, name, value)

    case.undoing.callback(delattr, asyncio.StreamReader, "__setattr__")
    asyncio.StreamReader.__setattr__ = set_attribute  # type: ignore[method-assign]


def see_gets(case: Case) -> None:
    def get_attribute(self: Any, name: str) -> Any:
        if name in ("feed_data", "_eof"):
            case.diary("get", name)
        return object.__getattribute__(self, name)

    case.undoing.callback(delattr, asyncio.StreamReader, "__getattribute__")
    asyncio.StreamReader.__getattribute__ = get_attribute  # type: ignore[method-assign]


def shadow_buffer(case: Case) -> None:
    """A property of the class comes before the instance's attribute."""

    def get(self: Any) -> Any:
        case.diary("buffer")
        return self.__dict__["_buffer"]

    case.undoing.callback(delattr, asyncio.StreamReader, "_buffer")
    asyncio.StreamReader._buffer = property(get)  # type: ignore[attr-defined]


def ask_for_reader(case: Case) -> None:
    def get(_: object) -> Any:
        case.diary("asked")
        return case.reader

    case.patch(asyncio.StreamReaderProtocol, "_stream_reader", property(get))


def change_code(case: Case) -> None:
    """The function stays the same, and so does its class."""

    def feed_data(self: Any, data: bytes) -> None:
        self._buffer.extend(data.upper())
        self._wakeup_waiter()

    function: Any = asyncio.StreamReader.feed_data
    case.undoing.callback(setattr, function, "__code__", function.__code__)
    function.__code__ = feed_data.__code__


def hide_behind_descriptor(case: Case) -> None:
    """What looks like a property of the function is none."""

    class Noting:
        def __init__(self, function: Any) -> None:
            self.fget = function

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            def call(data: bytes) -> Any:
                case.diary("through the descriptor", len(data))
                return self.fget(instance, data)

            return self if instance is None else call

    case.patch(asyncio.StreamReader, "feed_data", Noting(vars(asyncio.StreamReader)["feed_data"]))


Oddity = Callable[[Case], object]


def on_reader(**values: Any) -> Oddity:
    """Attributes of the reader; a function is called with the case."""

    def act(case: Case) -> None:
        for name, value in values.items():
            setattr(case.reader, name, value(case) if callable(value) else value)

    return act


ODDITIES: dict[str, Oddity] = {
    "nothing": lambda case: None,
    "feed_data of the reader": on_reader(feed_data=lambda case: case.note_calls(case.reader, "feed_data")),
    "_wakeup_waiter of the reader": on_reader(
        _wakeup_waiter=lambda case: case.note_calls(case.reader, "_wakeup_waiter")
    ),
    "data_received of the protocol": lambda case: setattr(
        case.protocol, "data_received", case.note_calls(case.protocol, "data_received")
    ),
    "feed_data of the class": lambda case: case.patch(
        asyncio.StreamReader, "feed_data", case.note_calls(asyncio.StreamReader, "feed_data")
    ),
    "_wakeup_waiter of the class": lambda case: case.patch(
        asyncio.StreamReader, "_wakeup_waiter", case.note_calls(asyncio.StreamReader, "_wakeup_waiter")
    ),
    "data_received of the class": lambda case: case.patch(
        asyncio.StreamReaderProtocol, "data_received", case.note_calls(asyncio.StreamReaderProtocol, "data_received")
    ),
    "_stream_reader of the class": ask_for_reader,
    "another code of feed_data": change_code,
    "a descriptor in the class": hide_behind_descriptor,
    "attributes set are seen": see_sets,
    "attributes asked for are seen": see_gets,
    "the buffer is a property": shadow_buffer,
    "a dictionary of the reader": lambda case: case.kept.append(vars(case.reader)),
    "a dictionary of the protocol": lambda case: case.kept.append(vars(case.protocol)),
    "feed_data in the dictionary": lambda case: vars(case.reader).update(
        feed_data=case.note_calls(case.reader, "feed_data")
    ),
    "another dictionary": lambda case: setattr(case.reader, "__dict__", dict(vars(case.reader))),
    "a further attribute of the reader": on_reader(further=1),
    "a further attribute of the protocol": lambda case: setattr(case.protocol, "further", 1),
    "a deleted attribute": lambda case: delattr(case.reader, "_exception"),
    "a deleted buffer": lambda case: case.loop.call_soon(setattr, case.reader, "_buffer", bytearray(b"back")),
    "a derived buffer": on_reader(_buffer=lambda case: OtherBuffer(case.reader._buffer)),
    "a view of the buffer": lambda case: case.kept.append(memoryview(case.reader._buffer)),
    "another buffer": on_reader(_buffer=lambda case: bytearray(b"another")),
    "a forgotten reader": forget_reader,
    "a Python future": on_reader(_waiter=lambda case: asyncio.futures._PyFuture(loop=case.loop)),  # type: ignore[attr-defined]
    "a C future": on_reader(_waiter=lambda case: asyncio.Future(loop=case.loop)),
    "a future of the loop": on_reader(_waiter=lambda case: case.loop.create_future()),
    "a future that is done": on_reader(_waiter=done_future),
    "a waiter of no kind": on_reader(_waiter=17),
    "a call_soon of the program": replace_call_soon,
    "callbacks of waiters": watch_waiter,
    "another protocol for a turn": switch_protocol,
    "another transport": on_reader(_transport=lambda case: mock.Mock(spec=asyncio.Transport)),
    "no transport": on_reader(_transport=None),
    "a transport that cannot pause": on_reader(_transport=lambda case: CannotPause()),
    "a transport that fails to pause": on_reader(_transport=lambda case: Unpausable()),
    "pause_reading of the transport": lambda case: setattr(
        case.transport, "pause_reading", case.note_calls(case.transport, "pause_reading")
    ),
    "a fractional limit": on_reader(_limit=99.5),
    "a limit beyond all numbers": on_reader(_limit=1 << 70),
    "a limit below zero": on_reader(_limit=-5),
    "a limit of no kind": on_reader(_limit="much"),
    "paused in words": on_reader(_paused="yes"),
    "paused by zero": on_reader(_paused=0),
    "the end by hand": on_reader(_eof=True),
    "the end in words": on_reader(_eof=""),
    "bytes by hand": feed_by_hand,
    "a derived reader": be_derived,
    "a derived protocol": be_derived_protocol,
}


@pytest.mark.filterwarnings("ignore:.*:ResourceWarning")
@pytest.mark.parametrize("when", ["from the beginning", "from the middle"])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_program_sees_what_it_sees_on_asyncio(scenario: Play, oddity: str, when: str) -> None:
    async def play(diary: Diary) -> None:
        case = Case(diary)
        await case.connect()
        with case.undoing:
            if when == "from the beginning":
                ODDITIES[oddity](case)
            await first_half(case)
            if when == "from the middle":
                ODDITIES[oddity](case)
            await second_half(case)
            await case.ends()

    scenario(play)


def test_debug_mode_shows_the_same(scenario_in_debug: Play) -> None:
    async def play(diary: Diary) -> None:
        case = Case(diary)
        await case.connect()
        await first_half(case)
        await second_half(case)
        await case.ends()

    scenario_in_debug(play)


@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_reset_reaches_the_reader(scenario: Play, is_waiting: bool) -> None:
    async def play(diary: Diary) -> None:
        case = Case(diary)
        await case.connect()
        await case.receive(b"some")
        waiting = asyncio.ensure_future(case.reader.readexactly(10)) if is_waiting else None
        await turns(2)
        reset(case.peer)
        await turns(4)
        case.look("reset")
        if waiting is not None:
            with diary.raises("waiting"):
                await waiting
        with diary.raises("read"):
            await case.reader.read(1)
        case.writer.close()
        with diary.raises("wait_closed"):
            await case.writer.wait_closed()

    scenario(play)


def test_servers_readers_are_filled_alike(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1000):
                diary("served", data)
                writer.write(data.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()
            done.set()

        done = asyncio.Event()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LIMIT_BYTES)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for size in (1, 10, 100, 1000):
            writer.write(b"m" * size)
            diary("answer", await reader.readexactly(size))
        writer.write_eof()
        diary("end", await reader.read())
        await done.wait()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    scenario(play)
