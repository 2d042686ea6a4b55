"""What the counters of ``loop.statistics()`` count."""

import asyncio
import math
import socket
import threading
import time
from typing import Any

import ferrio

from .loops import LIMIT_S, ferrio_only, run, run_until, turn

pytestmark = ferrio_only


def test_a_new_loop_has_done_nothing(loop: Any) -> None:
    assert loop.statistics() == ferrio.Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0, 0)


def test_turns_and_callbacks_are_counted(loop: Any) -> None:
    for _ in range(3):
        loop.call_soon(lambda: loop.call_soon(lambda: None))
    assert loop.statistics().ready == 3
    turn(loop)
    middle = loop.statistics()
    assert (middle.turns, middle.callbacks, middle.ready) == (1, 3, 3)
    turn(loop)
    end = loop.statistics()
    assert (end.turns, end.callbacks, end.ready) == (2, 6, 0)
    # There is nothing to ask the kernel about.
    assert (end.polls, end.sleeps) == (0, 0)


def test_a_callback_finds_its_own_turn_counted(loop: Any) -> None:
    seen: list[int] = []
    loop.call_soon(lambda: seen.append(loop.statistics().turns))
    turn(loop)
    assert seen == [1]


def test_polls_and_sleeps_are_told_apart(loop: Any) -> None:
    near, far = socket.socketpair()
    with near, far:
        loop.add_reader(near, lambda: None)
        assert loop.statistics().watched == 1
        turn(loop, 2)
        assert loop.statistics()[1:3] == (2, 0)
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        polled = loop.statistics()
        assert polled.sleeps >= 1
        assert polled.polls == 2 + polled.sleeps
        loop.remove_reader(near)
    assert loop.statistics().watched == 0


def test_timers_are_counted_while_they_wait_and_when_they_fire(loop: Any) -> None:
    fired: list[int] = []
    loop.call_later(0, fired.append, 1)
    loop.call_later(60, fired.append, 2).cancel()
    later = loop.call_later(60, fired.append, 3)
    assert loop.statistics().timers == 2
    run_until(loop, lambda: fired)
    counted = loop.statistics()
    # Whoever waits for the condition sets and cancels timers of its own.
    assert counted.timers_fired >= 1
    assert counted.timers == 1
    later.cancel()


def test_the_lag_is_what_a_busy_callback_makes_a_timer_wait(loop: Any) -> None:
    blocked_s = 0.02

    def block() -> None:
        loop.call_later(0.001, lambda: None)
        end = time.monotonic() + blocked_s
        while time.monotonic() < end:
            pass

    loop.call_soon(block)
    turn(loop, 2)
    late = loop.statistics()
    assert late.timers_fired == 1
    assert blocked_s - 0.001 <= late.timer_lag < LIMIT_S
    assert math.isclose(late.max_timer_lag, late.timer_lag)

    loop.call_later(0, lambda: None)
    turn(loop)
    prompt = loop.statistics()
    assert prompt.timers_fired == 2
    assert 0 <= prompt.timer_lag <= prompt.max_timer_lag
    assert prompt.max_timer_lag == late.max_timer_lag


def test_bytes_are_counted_once_in_each_direction(loop: Any) -> None:
    amount = 3_000_001

    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(amount))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0, limit=2 * amount) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(bytes(amount))
            assert len(await reader.read()) == amount
            writer.close()
            await writer.wait_closed()

    run(loop, main())
    counted = loop.statistics()
    assert counted.sent_bytes == 2 * amount
    assert counted.received_bytes == 2 * amount


def test_bytes_received_into_a_protocols_buffer_are_counted(loop: Any) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(100)
            self.updated = 0

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.updated += nbytes

    near, far = socket.socketpair()
    with far:
        transport, protocol = loop.run_until_complete(loop.create_connection(Buffered, sock=near))
        far.send(bytes(77))
        run_until(loop, lambda: protocol.updated)
        assert loop.statistics().received_bytes == 77
        transport.abort()
        turn(loop, 2)


def test_bytes_that_nobody_took_are_not_counted(loop: Any) -> None:
    near, far = socket.socketpair()
    with far:
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
        transport.write(bytes(10_000_000))
        pending = transport.get_write_buffer_size()
        assert 0 < pending < 10_000_000
        transport.abort()
        turn(loop, 2)
    assert loop.statistics().sent_bytes == 10_000_000 - pending


def test_another_thread_may_look(loop: Any) -> None:
    seen: list[ferrio.Statistics] = []
    thread = threading.Thread(target=lambda: (seen.append(loop.statistics()), loop.call_soon_threadsafe(loop.stop)))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert seen[0].turns >= 1


def test_a_closed_loop_still_tells(loop: Any) -> None:
    loop.call_soon(lambda: None)
    turn(loop)
    loop.close()
    closed = loop.statistics()
    assert (closed.turns, closed.callbacks, closed.ready, closed.timers, closed.watched) == (1, 1, 0, 0, 0)
