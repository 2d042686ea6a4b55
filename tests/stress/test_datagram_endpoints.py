"""Datagram endpoints by the thousand: opened, flooded, cancelled, closed from outside; nothing lost, nothing left."""

import asyncio
import contextlib
import gc
import os
import random
import resource
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from unit.datagrams.headers import counts_down

from .loops_compared import awaiting, new_loop_under_test, open_descriptors

#: On 3.11 asyncio's own is none of the public class.
DATAGRAM_TRANSPORTS = (asyncio.DatagramTransport, asyncio.selector_events._SelectorDatagramTransport)

Loop = asyncio.AbstractEventLoop


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Asker(Echo):
    """Asks so many questions of its own, one after the other, and checks each answer."""

    def __init__(self, name: int, questions: int) -> None:
        self.name, self.left = name, questions
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self) -> None:
        self.question = b"%d:%d" % (self.name, self.left)
        self.transport.sendto(self.question)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data != self.question:
            self.over.set_exception(AssertionError(f"{data!r} instead of {self.question!r}"))
            return
        self.left -= 1
        if self.left:
            self.ask()
        else:
            self.over.set_result(None)


def play(main: Any) -> None:
    """Run *main* on a new loop, and look for what it leaves."""
    gc.collect()
    descriptors = open_descriptors()
    loop = new_loop_under_test()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        awaiting(main)(loop)
    finally:
        loop.close()
    gc.collect()
    assert complaints == []
    assert open_descriptors() == descriptors


async def closed(*transports: Any) -> None:
    for transport in transports:
        transport.close()
    while any(transport._sock is not None for transport in transports):
        await asyncio.sleep(0)


def test_a_thousand_endpoints_ask_one_another_at_once() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(500, (limit - 100) // 2)

    async def main(loop: Loop) -> None:
        transports, askers = [], []
        for number in range(count):
            echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
            address = echo.get_extra_info("sockname")
            near, asker = await loop.create_datagram_endpoint(
                lambda number=number: Asker(number, 5), remote_addr=address
            )
            transports += [echo, near]
            askers.append(asker)
        for asker in askers:
            asker.ask()
        await asyncio.gather(*(asker.over for asker in askers))
        await closed(*transports)

    play(main)


def test_endpoints_come_and_go_and_leave_nothing() -> None:
    async def main(loop: Loop) -> None:
        # What other tests have left in cycles is not this one's.
        gc.collect()
        order = random.Random(1)
        for _ in range(2_000):
            transport: Any
            transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
            address = transport.get_extra_info("sockname")
            for _ in range(order.randrange(3)):
                # To itself: for ever, if it were not closed.
                transport.sendto(b"data", address)
            if order.random() < 0.5:
                await asyncio.sleep(0)
            getattr(transport, order.choice(["close", "abort"]))()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        endpoints = [each for each in gc.get_objects() if isinstance(each, DATAGRAM_TRANSPORTS)]
        living = Counter(type(each).__name__ for each in endpoints)
        assert living.total() <= 2, living

    play(main)


def test_creations_that_are_cancelled_anywhere_leave_nothing() -> None:
    async def main(loop: Loop) -> None:
        for turns in range(6):
            for _ in range(50):
                creating = loop.create_task(
                    loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", 9))
                )
                for _ in range(turns):
                    await asyncio.sleep(0)
                creating.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    transport, _ = await creating
                    transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    play(main)


def test_sockets_closed_from_outside_confuse_nobody() -> None:
    """Their numbers are given to new endpoints at once, whose datagrams must be their own."""

    async def main(loop: Loop) -> None:
        lost: list[Any] = []
        for number in range(200):
            victim, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
            victim._sock.close()  # type: ignore[attr-defined]
            victim.abort()
            lost.append(victim)
            echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
            near, asker = await loop.create_datagram_endpoint(
                lambda number=number: Asker(number, 3), remote_addr=echo.get_extra_info("sockname")
            )
            asker.ask()
            await asker.over
            await closed(echo, near)
        assert all(victim._sock is None for victim in lost)

    play(main)


@counts_down
@pytest.mark.parametrize("size", [1, 2_000, 60_000])
def test_a_flood_over_unix_sockets_arrives_whole_and_in_order(tmp_path: Path, size: int) -> None:
    """A full peer refuses: the sender is paused and resumed many times."""
    total = 4_000 if size < 50_000 else 500

    class Sender(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.may_send = asyncio.Event()
            self.may_send.set()
            self.pauses = 0

        def pause_writing(self) -> None:
            self.pauses += 1
            self.may_send.clear()

        def resume_writing(self) -> None:
            self.may_send.set()

        def error_received(self, exc: Exception) -> None:
            raise exc

    class Receiver(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.received = 0
            self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def datagram_received(self, data: bytes, addr: Any) -> None:
            assert data == b"%d " % self.received + bytes(size)
            self.received += 1
            if self.received == total:
                self.over.set_result(None)

    async def main(loop: Loop) -> None:
        path = str(tmp_path / "receiver")
        there, receiver = await loop.create_datagram_endpoint(Receiver, local_addr=path, family=socket.AF_UNIX)
        here, sender = await loop.create_datagram_endpoint(Sender, remote_addr=path, family=socket.AF_UNIX)
        here.set_write_buffer_limits(high=20 * (size + 20))  # type: ignore[attr-defined]
        for number in range(total):
            await sender.may_send.wait()
            here.sendto(b"%d " % number + bytes(size))
        await receiver.over
        assert sender.pauses > 5
        assert here.get_write_buffer_size() == 0  # type: ignore[attr-defined]
        await closed(here, there)

    play(main)


def test_the_process_does_not_grow_with_datagrams() -> None:
    async def main(loop: Loop) -> None:
        echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
        sizes: list[int] = []
        for round_number in range(6):
            for number in range(2_000):
                peer = peers[number % 5]
                peer.sendto(bytes(number + 1), echo.get_extra_info("sockname"))
                peer.setblocking(False)
                while True:
                    await asyncio.sleep(0)
                    with contextlib.suppress(BlockingIOError):
                        assert len(peer.recv(10_000)) == number + 1
                        break
            if round_number >= 2:
                gc.collect()
                sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
        page = os.sysconf("SC_PAGE_SIZE")
        assert (sizes[-1] - sizes[0]) * page < 1 << 20
        for peer in peers:
            peer.close()
        await closed(echo)

    play(main)
