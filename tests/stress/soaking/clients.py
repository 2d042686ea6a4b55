"""Four ways to be a client on a loop, each carrying out a `Plan`."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from .plans import Plan
from .servers import ADDRESSES
from .suspensions import counting_suspensions
from .traffic import ANSWERS, Tally, reset_on_close

#: One connection must end within this time; orderly ones take milliseconds.
CONNECTION_LIMIT_S = 60.0


class ClientProtocol(asyncio.Protocol):
    def __init__(self, plan: Plan, tally: Tally) -> None:
        loop = asyncio.get_running_loop()
        self._plan = plan
        self._tally = tally
        self._resumed: asyncio.Future[None] | None = None
        self.answered: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        self._plan.check(data, self._tally)
        if self._plan.received >= self._plan.size and not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.answered, self.lost, self._resumed):
            if future is not None and not future.done():
                future.set_result(None)

    def pause_writing(self) -> None:
        self._resumed = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    async def drain(self) -> None:
        if self._resumed is not None:
            await self._resumed


async def by_protocol(plan: Plan, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(lambda: ClientProtocol(plan, tally), *plan.address)
    await _converse_by_protocol(plan, transport, protocol)


async def by_adopted_socket(plan: Plan, tally: Tally) -> None:
    """``create_connection(sock=...)``; when that is cancelled, the socket is closed at once by its owner."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, plan.address)
        transport, protocol = await loop.create_connection(lambda: ClientProtocol(plan, tally), sock=connection)
    except BaseException:
        connection.close()
        raise
    await _converse_by_protocol(plan, transport, protocol)


async def _converse_by_protocol(plan: Plan, transport: asyncio.Transport, protocol: ClientProtocol) -> None:
    try:
        plan.phase = "writing"
        plan.prepare(transport.get_extra_info("socket"))
        transport.write(plan.hello)
        transport.write(plan.question)
        await protocol.drain()
        if plan.end == "half-close" and not transport.is_closing():
            transport.write_eof()
        if not plan.is_broken_off:
            plan.phase = "reading"
            await (protocol.lost if plan.end == "half-close" else protocol.answered)
        if not plan.is_broken_off:
            plan.phase = "closing"
            transport.close()
            await protocol.lost
    finally:
        if plan.end == "reset" and not transport.is_closing():
            reset_on_close(transport.get_extra_info("socket"))
        transport.abort()


async def by_streams(plan: Plan, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection(*plan.address)
    try:
        plan.phase = "writing"
        plan.prepare(writer.get_extra_info("socket"))
        writer.write(plan.hello)
        writer.write(plan.question)
        await writer.drain()
        if plan.end == "half-close":
            writer.write_eof()
        if not plan.is_broken_off:
            plan.phase = "reading"
            while not plan.is_answered and (data := await reader.read(65536)):
                plan.check(data, tally)
        if not plan.is_broken_off:
            plan.phase = "closing"
            writer.close()
            await writer.wait_closed()
    finally:
        if plan.end == "reset" and not writer.is_closing():
            reset_on_close(writer.get_extra_info("socket"))
        if plan.end in ("abort", "reset"):
            writer.transport.abort()
        else:
            writer.close()


async def by_socket(plan: Plan, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    with connection:
        await loop.sock_connect(connection, plan.address)
        plan.phase = "writing"
        plan.prepare(connection)
        await loop.sock_sendall(connection, plan.hello + plan.question)
        if plan.end == "half-close":
            connection.shutdown(socket.SHUT_WR)
        if not plan.is_broken_off:
            plan.phase = "reading"
            buffer = bytearray(65536)
            while not plan.is_answered:
                count = await loop.sock_recv_into(connection, buffer)
                if not count:
                    break
                plan.check(bytes(buffer[:count]), tally)
        if plan.end == "reset":
            reset_on_close(connection)


CLIENTS: dict[str, Callable[[Plan, Tally], Coroutine[Any, Any, None]]] = {
    "protocol": by_protocol,
    "streams": by_streams,
    "socket": by_socket,
    "adopted socket": by_adopted_socket,
}


async def connect_once(plan: Plan, tally: Tally) -> None:
    """Carry *plan* out and hold the outcome against what it allows."""
    loop = asyncio.get_running_loop()
    converse = CLIENTS[plan.way](plan, tally)
    try:
        async with asyncio.timeout(CONNECTION_LIMIT_S):
            if plan.end == "cancel":
                task: asyncio.Task[None] = loop.create_task(cancelled_on_the_way(plan, converse))
                await asyncio.wait([task])
                task.result()
            elif plan.end == "timeout":
                await asyncio.wait_for(converse, plan.timeout_s)
            else:
                await converse
    except asyncio.CancelledError:
        tally.counts[f"cancelled while {plan.phase}"] += 1
        if plan.end != "cancel":
            raise
        return
    except TimeoutError:
        tally.counts[f"timed out while {plan.phase}"] += 1
        if plan.end != "timeout":
            tally.fail(f"client: connection {plan.number} hung while {plan.phase}: {plan}")
        return
    except OSError as error:
        # The server broke the connection off, or cancelled its handler.
        tally.counts[f"{type(error).__name__} while {plan.phase}"] += 1
        if plan.phase == "connecting":
            tally.fail(f"client: {error!r} while connecting: {plan}")
        return
    tally.counts[plan.end] += 1
    handler_may_be_cancelled = ADDRESSES.index(plan.address[0]) % 4 == 2
    if (
        plan.end in ("orderly", "half-close")
        and plan.mode in ANSWERS
        and plan.received != plan.size
        and not handler_may_be_cancelled
    ):
        tally.fail(f"client: {plan.received} bytes of answer: {plan}")


async def cancelled_on_the_way(plan: Plan, converse: Coroutine[Any, Any, None]) -> None:
    """Await *converse* and cancel this task at the suspension that *plan* names, or some turns later."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def cancel(turns: int) -> None:
        if turns < 0:
            task.cancel()
        else:
            loop.call_soon(cancel, turns - 1)

    await counting_suspensions(converse, plan.cancelled_at, lambda: cancel(plan.cancelled_after_turns))
