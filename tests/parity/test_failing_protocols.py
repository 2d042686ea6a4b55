"""Exceptions in protocol methods: which reports they cause, in which words, and what they end."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import Noted, NotedBuffered, connect, fail_with, read_all, turns

EXCEPTIONS: dict[str, BaseException | type[BaseException]] = {
    "ValueError": ValueError("theirs"),
    "OSError": OSError(5, "theirs"),
    "ConnectionResetError": ConnectionResetError(104, "theirs"),
    "BrokenPipeError": BrokenPipeError,
    "TimeoutError": TimeoutError("theirs"),
    "CancelledError": asyncio.CancelledError("theirs"),
    "GeneratorExit": GeneratorExit("theirs"),
    "BlockingIOError": BlockingIOError(11, "theirs"),
    "group": ExceptionGroup("theirs", [ValueError(1), OSError(2, "two")]),
}
each_exception = pytest.mark.parametrize("exception", EXCEPTIONS.values(), ids=EXCEPTIONS)


@each_exception
@pytest.mark.parametrize("method", ["data_received", "eof_received", "get_buffer", "buffer_updated"])
def test_while_reading(scenario_in_both_modes: Play, method: str, exception: Any) -> None:
    async def play(diary: Diary) -> None:
        kind = NotedBuffered if "buffer" in method else Noted
        protocol = kind(diary, at={method: fail_with(exception)})
        transport, peer = await connect(protocol)
        diary.count_turns()
        peer.send(b"data")
        if method == "eof_received":
            peer.shutdown(socket.SHUT_WR)
        await protocol.lost
        await turns(2)
        diary("state", transport.is_closing(), transport._sock is None)
        peer.close()

    scenario_in_both_modes(play)


@pytest.mark.parametrize("exception", [ValueError("theirs"), OSError(5, "theirs"), asyncio.CancelledError()])
@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_at_the_beginning_and_at_the_end(scenario_in_both_modes: Play, method: str, exception: Any) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary, at={method: fail_with(exception)})
        ours, peer = socket.socketpair()
        with diary.raises("connecting"):
            await diary.loop.create_connection(lambda: protocol, sock=ours)
        await turns(2)
        protocol.transport.close()
        await protocol.lost
        await turns(2)
        diary("state", protocol.transport._sock is None, ours.fileno())
        peer.close()

    scenario_in_both_modes(play)


@pytest.mark.parametrize("exception", [ValueError("theirs"), OSError(5, "theirs"), asyncio.CancelledError()])
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_while_writing(scenario_in_both_modes: Play, method: str, exception: Any) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary, at={method: fail_with(exception)})
        transport, peer = await connect(protocol)
        with diary.raises("write"):
            transport.write(b"x" * (4 << 20))
        diary("received", await read_all(diary.loop, peer, 4 << 20))
        while "protocol.resume_writing" not in [entry[0] for entry in diary.entries]:
            await asyncio.sleep(0)
        transport.write(b"goes on")
        diary("received", await read_all(diary.loop, peer, 7))
        transport.close()
        await protocol.lost
        peer.close()

    scenario_in_both_modes(play)


@pytest.mark.parametrize("exception", [KeyboardInterrupt("theirs"), SystemExit(3)])
@pytest.mark.parametrize(
    "method",
    ["connection_made", "data_received", "eof_received", "get_buffer", "buffer_updated", "connection_lost"],
)
def test_an_exit_comes_out_of_the_run(scenario: Play, method: str, exception: Any) -> None:
    async def play(diary: Diary) -> None:
        kind = NotedBuffered if "buffer" in method else Noted
        protocol = kind(diary, at={method: fail_with(exception)})
        ours, peer = socket.socketpair()
        peer.send(b"data")
        peer.shutdown(socket.SHUT_WR)
        await diary.loop.create_connection(lambda: protocol, sock=ours)
        await protocol.lost
        await turns(2)

    seen = scenario(play)
    assert seen.raised["type"] == type(exception).__name__


@pytest.mark.parametrize(
    "bad",
    [b"read-only", bytearray(), memoryview(b""), "text", None, 0, [1]],
    ids=lambda bad: "memoryview(b'')" if isinstance(bad, memoryview) else repr(bad),
)
def test_a_buffer_that_is_none(scenario: Play, bad: Any) -> None:
    class Bad(NotedBuffered):
        def get_buffer(self, sizehint: int) -> Any:
            self.note("get_buffer", sizehint)
            return bad

    async def play(diary: Diary) -> None:
        protocol = Bad(diary)
        _, peer = await connect(protocol)
        peer.send(b"data")
        await protocol.lost
        peer.close()

    scenario(play)


def test_a_protocol_without_methods(scenario: Play) -> None:
    class Bare:
        pass

    async def play(diary: Diary) -> None:
        ours, peer = socket.socketpair()
        transport, _ = await diary.loop.create_connection(Bare, sock=ours)  # type: ignore[type-var]
        peer.send(b"data")
        await turns(4)
        diary("state", transport.is_closing())
        transport.abort()
        await turns(4)
        peer.close()

    scenario(play)


def test_a_factory_that_fails(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        def factory() -> asyncio.Protocol:
            diary("factory")
            raise LookupError("theirs")

        server = await diary.loop.create_server(factory, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        await asyncio.sleep(0.002)
        with diary.raises("connecting"):
            await diary.loop.create_connection(factory, *server.sockets[0].getsockname())
        await asyncio.sleep(0.002)
        peer.close()
        server.close()
        await server.wait_closed()

    scenario_in_both_modes(play)


def fail_on_transport(transport: Any) -> None:
    transport._fatal_error(ValueError("theirs"), "theirs")


@pytest.mark.parametrize("size", [2, 16])
@pytest.mark.parametrize("data", [b"data", b""], ids=["data", "end"])
@pytest.mark.parametrize(
    "end",
    [lambda transport: transport.close(), lambda transport: transport.abort(), fail_on_transport],
    ids=["close", "abort", "fatal error"],
)
def test_a_buffer_is_filled_although_get_buffer_has_ended_the_transport(
    scenario_in_both_modes: Play, end: Callable[[Any], object], data: bytes, size: int
) -> None:
    async def play(diary: Diary) -> None:
        protocol = NotedBuffered(diary, at={"get_buffer": end})
        protocol.size = size
        _, peer = await connect(protocol)
        diary.count_turns()
        if data:
            peer.send(data)
        else:
            peer.shutdown(socket.SHUT_WR)
        await protocol.lost
        await turns(2)
        with diary.raises("peer"):
            diary("peer received", peer.recv(1))
        peer.close()

    seen = scenario_in_both_modes(play)
    assert ("protocol.buffer_updated" if data else "protocol.eof_received") in seen.events


class Undecided:
    """Is neither true nor false twice, then false."""

    def __init__(self, exception: BaseException) -> None:
        self.left = [exception] * 2

    def __bool__(self) -> bool:
        if self.left:
            raise self.left.pop()
        return False


@each_exception
@pytest.mark.parametrize("kind", [Noted, NotedBuffered])
def test_an_answer_of_eof_received_that_is_neither_true_nor_false(
    scenario_in_both_modes: Play, kind: type[Noted], exception: Any
) -> None:
    async def play(diary: Diary) -> None:
        protocol = kind(diary)
        protocol.keep_open = Undecided(exception)  # type: ignore[assignment]
        _, peer = await connect(protocol)
        diary.count_turns()
        peer.shutdown(socket.SHUT_WR)
        await protocol.lost
        await turns(2)
        peer.close()

    seen = scenario_in_both_modes(play)
    assert seen.events.count("protocol.eof_received") == 3


@pytest.mark.parametrize("data", [b"data", b""], ids=["data", "end"])
@pytest.mark.parametrize("other", [Noted, NotedBuffered])
def test_a_protocol_that_get_buffer_puts_in_its_place_is_told_of_what_comes(
    scenario_in_both_modes: Play, other: type[Noted], data: bytes
) -> None:
    async def play(diary: Diary) -> None:
        second = other(diary, "second")
        second.buffer = bytearray(16)  # type: ignore[attr-defined]

        def swap(transport: Any) -> None:
            second.transport = transport
            transport.set_protocol(second)

        protocol = NotedBuffered(diary, at={"get_buffer": swap})
        _, peer = await connect(protocol)
        diary.count_turns()
        if data:
            peer.send(data)
            await turns(3)
        peer.shutdown(socket.SHUT_WR)
        await second.lost
        await turns(2)
        peer.close()

    scenario_in_both_modes(play)
