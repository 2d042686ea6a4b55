"""Flow control: limits, when the protocol is paused and resumed, and what it may do in those calls."""

import asyncio
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import ferrio_only, run_until, turn

Loop = asyncio.AbstractEventLoop
KIB, MIB = 1 << 10, 1 << 20


def test_the_limits_are_asyncios_by_default(loop: Loop) -> None:
    connection = connect(loop)
    assert connection.transport.get_write_buffer_limits() == (16 * KIB, 64 * KIB)
    connection.end()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (16 * KIB, 64 * KIB)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 1000, "low": 10}, (10, 1000)),
        ({"high": 0}, (0, 0)),
        ({"low": 0}, (0, 0)),
        ({"high": 0, "low": 0}, (0, 0)),
        ({"high": 5, "low": 5}, (5, 5)),
        ({"high": None, "low": None}, (16 * KIB, 64 * KIB)),
        ({"high": 3}, (0, 3)),
        ({"high": True}, (0, 1)),
        ({"high": 1 << 40}, (1 << 38, 1 << 40)),
    ],
)
def test_limits_are_completed_as_asyncio_completes_them(
    loop: Loop, given: dict[str, Any], expected: tuple[int, int]
) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(**given)
    assert connection.transport.get_write_buffer_limits() == expected
    connection.end()


def test_limits_can_be_given_by_position(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(1000, 100)
    assert connection.transport.get_write_buffer_limits() == (100, 1000)
    connection.end()


@pytest.mark.parametrize(
    "given", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"high": 1, "low": -1}, {"low": -(2**63)}]
)
def test_limits_in_the_wrong_order_are_refused_in_asyncios_words(loop: Loop, given: dict[str, Any]) -> None:
    theirs = asyncio.SelectorEventLoop()
    other = connect(theirs)
    with pytest.raises(ValueError, match="must be") as expected:
        other.transport.set_write_buffer_limits(**given)
    other.end()
    theirs.close()
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(100, 10)
    with pytest.raises(ValueError, match="must be") as actual:
        connection.transport.set_write_buffer_limits(**given)
    assert actual.value.args == expected.value.args
    assert connection.transport.get_write_buffer_limits() == (10, 100)
    connection.end()


@pytest.mark.parametrize("given", [{"high": "text"}, {"low": []}, {"nonsense": 1}])
def test_limits_that_are_none_are_type_errors(loop: Loop, given: dict[str, Any]) -> None:
    connection = connect(loop)
    with pytest.raises(TypeError):
        connection.transport.set_write_buffer_limits(**given)
    connection.end()


def test_the_protocol_is_paused_once_above_the_high_mark_and_resumed_once_at_the_low(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * (4 * MIB))
    assert connection.protocol.names == ["made", "pause"]
    connection.transport.write(b"x" * MIB)
    assert connection.protocol.names == ["made", "pause"]
    connection.receive(5 * MIB)
    run_until(loop, lambda: connection.transport.get_write_buffer_size() == 0)
    assert connection.protocol.names == ["made", "pause", "resume"]
    connection.end()


def test_the_protocol_is_paused_within_the_write(loop: Loop) -> None:
    connection = connect(loop)
    seen: list[list[str]] = []

    def write() -> None:
        connection.transport.write(b"x" * (4 * MIB))
        seen.append(list(connection.protocol.names))

    loop.call_soon(write)
    turn(loop)
    assert seen == [["made", "pause"]]
    connection.end()


def test_what_the_kernel_takes_at_once_pauses_nobody(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(high=10)
    connection.transport.write(b"x" * 1000)

    def write() -> None:
        for _ in range(10):
            connection.transport.write(b"x" * 1000)

    loop.call_soon(write)
    turn(loop)
    assert connection.protocol.names == ["made"]
    assert connection.transport.get_write_buffer_size() == 0
    connection.end()


def test_exactly_the_high_mark_does_not_pause_one_more_does(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(high=1 << 30)
    connection.transport.write(b"x" * (4 * MIB))
    # The kernel takes no more, so from here on the test decides how much waits.
    waiting = connection.transport.get_write_buffer_size()
    connection.transport.set_write_buffer_limits(high=waiting + 10)
    connection.transport.write(b"x" * 10)
    assert connection.transport.get_write_buffer_size() == waiting + 10
    assert connection.protocol.names == ["made"]
    connection.transport.write(b"x")
    assert connection.protocol.names == ["made", "pause"]
    connection.end()


def test_lowering_the_limits_below_what_waits_pauses(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.set_write_buffer_limits(high=16 * MIB)
    connection.transport.write(b"x" * (4 * MIB))
    assert connection.protocol.names == ["made"]
    connection.transport.set_write_buffer_limits(high=1000)
    assert connection.protocol.names == ["made", "pause"]
    connection.receive(4 * MIB)
    run_until(loop, lambda: "resume" in connection.protocol.names)
    connection.end()


def test_a_high_mark_of_zero_resumes_when_nothing_waits(loop: Loop) -> None:
    class Asks(Recorder):
        sizes: list[int]

        def resume_writing(self) -> None:
            super().resume_writing()
            self.sizes = [self.transport.get_write_buffer_size()]

    connection = connect(loop, Asks)
    connection.transport.set_write_buffer_limits(high=0)
    connection.transport.write(b"x" * (4 * MIB))
    assert connection.protocol.names == ["made", "pause"]
    connection.receive(4 * MIB)
    run_until(loop, lambda: "resume" in connection.protocol.names)
    assert connection.protocol.sizes == [0]
    connection.end()


def test_the_size_of_what_waits_only_falls_while_nothing_is_written(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * (8 * MIB))
    sizes = []
    while connection.transport.get_write_buffer_size():
        sizes.append(connection.transport.get_write_buffer_size())
        connection.receive(min(sizes[-1], 256 * KIB))
        turn(loop)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 3
    connection.end()


def test_a_resumed_protocol_may_write_and_is_paused_again(loop: Loop) -> None:
    class Refills(Recorder):
        rounds = 0

        def resume_writing(self) -> None:
            super().resume_writing()
            self.rounds += 1
            if self.rounds < 4:
                self.transport.write(bytes([self.rounds]) * (2 * MIB))

    connection = connect(loop, Refills)
    connection.transport.write(b"\0" * (2 * MIB))
    data = connection.receive(8 * MIB)
    assert data == b"".join(bytes([number]) * (2 * MIB) for number in range(4))
    run_until(loop, lambda: connection.protocol.rounds == 4)
    assert connection.protocol.names == ["made", *["pause", "resume"] * 4]
    connection.end()


def test_a_paused_protocol_may_write_more(loop: Loop) -> None:
    class WritesMore(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            self.transport.write(b"more")

    connection = connect(loop, WritesMore)
    connection.transport.write(b"x" * (4 * MIB))
    assert connection.receive(4 * MIB + 4) == b"x" * (4 * MIB) + b"more"
    connection.end()


@ferrio_only  # asyncio calls connection_lost() twice when resume_writing() ends the transport
@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_protocol_may_end_the_transport_when_it_is_paused_or_resumed(loop: Loop, method: str, ending: str) -> None:
    class Ends(Recorder):
        def end(self, name: str) -> None:
            if name == method:
                getattr(self.transport, ending)()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.end("pause_writing")

        def resume_writing(self) -> None:
            super().resume_writing()
            self.end("resume_writing")

    connection = connect(loop, Ends)
    connection.transport.write(b"x" * (4 * MIB))
    received = connection.receive_all()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.lost_with is None
    if ending == "close":
        assert len(received) == 4 * MIB
    connection.peer.close()


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_an_exception_in_either_is_told_and_ends_nothing(
    loop: Loop, contexts: list[dict[str, Any]], method: str
) -> None:
    class Fails(Recorder):
        def fail(self, name: str) -> None:
            if name == method:
                raise LookupError("theirs")

        def pause_writing(self) -> None:
            super().pause_writing()
            self.fail("pause_writing")

        def resume_writing(self) -> None:
            super().resume_writing()
            self.fail("resume_writing")

    connection = connect(loop, Fails)
    data = b"x" * (4 * MIB)
    connection.transport.write(data)
    assert connection.receive(len(data)) == data
    run_until(loop, lambda: "resume" in connection.protocol.names)
    (told,) = contexts
    assert told["message"] == f"protocol.{method}() failed"
    assert isinstance(told["exception"], LookupError)
    assert told["transport"] is connection.transport
    assert told["protocol"] is connection.protocol
    connection.transport.write(b"goes on")
    assert connection.receive(7) == b"goes on"
    connection.end()


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_pause_writing_comes_out_of_the_write(loop: Loop, exception: type[BaseException]) -> None:
    class Exits(Recorder):
        def pause_writing(self) -> None:
            raise exception("theirs")

    connection = connect(loop, Exits)
    with pytest.raises(exception, match="theirs"):
        connection.transport.write(b"x" * (4 * MIB))
    assert connection.receive(4 * MIB) == b"x" * (4 * MIB)
    connection.end()


def test_closing_while_paused_resumes_before_the_end(loop: Loop) -> None:
    connection = connect(loop)
    connection.transport.write(b"x" * (4 * MIB))
    connection.transport.close()
    connection.receive_all()
    run_until(loop, lambda: connection.protocol.is_lost)
    assert connection.protocol.names == ["made", "pause", "resume", "lost"]
    connection.peer.close()


def test_drain_waits_until_the_peer_has_read(loop: Loop) -> None:
    import socket

    ours, peer = socket.socketpair()
    drained: list[int] = []

    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"x" * (4 * MIB))
        await writer.drain()
        drained.append(writer.transport.get_write_buffer_size())
        writer.close()
        await writer.wait_closed()

    task = loop.create_task(main())
    turn(loop, 5)
    assert drained == []
    peer.setblocking(False)
    received = 0

    def receive() -> None:
        nonlocal received
        received += len(peer.recv(1 << 20))

    loop.add_reader(peer, receive)
    loop.run_until_complete(task)
    loop.remove_reader(peer)
    assert drained[0] <= 16 * KIB
    peer.close()
