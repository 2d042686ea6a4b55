"""Datagram endpoints: the same calls in the same order and turns, the same answers to whatever is asked of them."""

import asyncio
import errno
import os
import random
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.datagrams.headers import asyncio_counts_down

from .conftest import Play
from .observation import Diary
from .protocols import fail_with, turns


class Noted(asyncio.DatagramProtocol):
    """Writes down each call under its name, and acts on the transport as *at* says."""

    def __init__(
        self, diary: Diary, name: str = "protocol", at: dict[str, Callable[[Any], object]] | None = None
    ) -> None:
        self.diary, self.name, self.at = diary, name, at or {}
        self.transport: Any = None
        self.lost: asyncio.Future[None] = diary.loop.create_future()

    def note(self, event: str, *details: Any) -> None:
        self.diary(f"{self.name}.{event}", *details)
        if act := self.at.get(event):
            act(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("connection_made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.note("datagram_received", len(data), data[:20], type(data), addr, type(addr))

    def error_received(self, exc: Exception) -> None:
        self.note("error_received", exc, type(sys.exc_info()[1]))

    def pause_writing(self) -> None:
        self.note("pause_writing")

    def resume_writing(self) -> None:
        self.note("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
        self.note("connection_lost", exc)


async def pair(diary: Diary, near: Noted, far: Noted) -> tuple[Any, Any]:
    """Two endpoints, the first connected to the second."""
    there, _ = await diary.loop.create_datagram_endpoint(lambda: far, local_addr=("127.0.0.1", 0))
    here, _ = await diary.loop.create_datagram_endpoint(lambda: near, remote_addr=there.get_extra_info("sockname"))
    return here, there


def test_a_conversation_takes_the_same_turns(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        near, far = Noted(diary, "near"), Noted(diary, "far")
        diary.count_turns()
        here, there = await pair(diary, near, far)
        for number in range(5):
            here.sendto(b"ball %d" % number)
            there.sendto(b"answer %d" % number, here.get_extra_info("sockname"))
            diary("thrown", number)
            await turns(4)
        here.close()
        diary("closed", here.is_closing())
        await near.lost
        there.sendto(b"nobody", here.get_extra_info("sockname"))
        there.abort()
        await turns(4)

    seen = scenario_in_both_modes(play)
    assert seen.events.count("far.datagram_received") == 5


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize(
    "where", ["connection_made", "datagram_received", "error_received", "connection_lost", "timer"]
)
def test_an_end_from_everywhere_comes_in_the_same_turn(scenario: Play, where: str, ending: str) -> None:
    async def play(diary: Diary) -> None:
        def end(transport: Any) -> None:
            diary("ending", transport.is_closing())
            getattr(transport, ending)()
            diary("ended", transport.is_closing())

        near, far = Noted(diary, "near", {where: end}), Noted(diary, "far")
        diary.count_turns()
        here, there = await pair(diary, near, far)
        diary("connected")
        if where == "timer":
            diary.loop.call_later(0, end, here)
        if where == "connection_lost":
            here.abort()
        if where == "error_received":
            here.sendto(bytes(70_000))
        for number in range(3):
            there.sendto(b"%d" % number, here.get_extra_info("sockname"))
        await turns(6)
        there.close()
        here.close()
        await turns(4)

    scenario(play)


@pytest.mark.parametrize("exception", [ZeroDivisionError, OSError, asyncio.CancelledError, BaseException])
@pytest.mark.parametrize("where", ["connection_made", "datagram_received", "error_received", "connection_lost"])
def test_a_failing_protocol_is_told_of_in_the_same_words(
    scenario_in_both_modes: Play, where: str, exception: type[BaseException]
) -> None:
    async def play(diary: Diary) -> None:
        near, far = Noted(diary, "near", {where: fail_with(exception("failing"))}), Noted(diary, "far")
        here, there = await pair(diary, near, far)
        for number in range(3):
            there.sendto(b"%d" % number, here.get_extra_info("sockname"))
            await turns(3)
        there.abort()
        await far.lost
        here.sendto(b"nobody is there")
        await turns(3)
        with diary.raises("too long"):
            here.sendto(bytes(70_000))
        diary("closing", here.is_closing())
        here.close()
        await turns(3)

    scenario_in_both_modes(play)


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["datagram_received", "error_received", "connection_lost"])
def test_what_leaves_the_loop_leaves_it_from_a_protocol_too(
    scenario: Play, where: str, exception: type[BaseException]
) -> None:
    async def play(diary: Diary) -> None:
        near, far = Noted(diary, "near", {where: fail_with(exception("leaving"))}), Noted(diary, "far")
        here, there = await pair(diary, near, far)
        name = here.get_extra_info("sockname")
        if where == "error_received":
            there.abort()
            await far.lost
            here.sendto(b"nobody is there")
        elif where == "connection_lost":
            here.abort()
        else:
            there.sendto(b"data", name)
        await turns(3)

    seen = scenario(play)
    assert seen.raised["type"] == exception.__name__


ADDRESSES: dict[str, Any] = {
    "nothing": None,
    "text": "127.0.0.1",
    "a number": 5,
    "an empty tuple": (),
    "a host alone": ("127.0.0.1",),
    "three parts": ("127.0.0.1", 9, 0),
    "a list": ["127.0.0.1", 9],
    "a port as text": ("127.0.0.1", "9"),
    "a port too large": ("127.0.0.1", 65536),
    "a port far too large": ("127.0.0.1", 1 << 80),
    "a negative port": ("127.0.0.1", -1),
    "a float for a port": ("127.0.0.1", 9.0),
    "truth for a port": ("127.0.0.1", True),
    "a host that is none": (None, 9),
    "bytes for a host": (b"127.0.0.1", 9),
    "a zero in a host": ("127.0.0.1\0", 9),
    "half a character": ("\ud800", 9),
    "a short form": ("127.1", 9),
    "leading zeros": ("127.0.0.01", 9),
    "a host name": ("localhost", 9),
    "no host": ("", 9),
    "broadcasting": ("<broadcast>", 9),
    "everybody": ("255.255.255.255", 9),
    "IPv6": ("::1", 9),
    "IPv6 with a zone": ("fe80::1%lo", 9),
    "IPv6 with everything": ("::1", 9, 0, 0),
    "a flow too large": ("::1", 9, 1 << 20, 0),
    "a negative flow": ("::1", 9, -1, 0),
    "a scope too large": ("::1", 9, 0, 1 << 32),
    "an IPv4 address in IPv6": ("::ffff:127.0.0.1", 9),
    "a long path": "/" + "x" * 200,
    "an empty path": "",
    "a missing path": "/nowhere/at all",
    "bytes": b"/nowhere",
    "a long abstract name": b"\0" + b"x" * 108,
    "an abstract name": "\0nobody has this one",
}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_every_address_gets_the_same_answer(scenario: Play, family: int, address: Any) -> None:
    async def play(diary: Diary) -> None:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        protocol = Noted(diary)
        transport, _ = await diary.loop.create_datagram_endpoint(lambda: protocol, sock=sock)
        for _ in range(2):
            if not transport.is_closing():
                with diary.raises("sendto"):
                    transport.sendto(b"data", address)
        await turns(2)
        transport.close()
        await turns(2)

    scenario(play)


DATA: dict[str, Any] = {
    "text": "text",
    "nothing": None,
    "a number": 5,
    "a list": [1, 2],
    "bytes": b"data",
    "empty": b"",
    "a bytearray": bytearray(b"data"),
    "an empty bytearray": bytearray(),
    "a view": memoryview(b"data"),
    "a view of nothing": memoryview(b""),
    "a view with gaps": memoryview(b"data")[::2],
    "a view of words": memoryview(b"datadata").cast("I"),
    "a view of a table": memoryview(b"datadata").cast("B", (2, 4)),
    "too long": bytes(70_000),
}


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_all_kinds_of_data_get_the_same_answer(scenario: Play, data: Any, connected: bool) -> None:
    async def play(diary: Diary) -> None:
        near, far = Noted(diary, "near"), Noted(diary, "far")
        here, there = await pair(diary, near, far)
        sender, to = (here, None) if connected else (there, here.get_extra_info("sockname"))
        with diary.raises("sendto"):
            sender.sendto(data, to)
        await turns(3)
        here.close()
        there.close()
        await turns(3)

    scenario(play)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"family": socket.AF_INET},
        {"family": socket.AF_INET6},
        {"family": socket.AF_UNIX},
        {"family": 12345},
        {"local_addr": ("127.0.0.1", 0)},
        {"local_addr": ("localhost", 0), "family": socket.AF_INET},
        {"local_addr": ("127.0.0.1", 0), "proto": socket.IPPROTO_UDP},
        {"local_addr": ("127.0.0.1", 0), "proto": socket.IPPROTO_TCP},
        {"local_addr": ("127.0.0.1", 0), "flags": socket.AI_PASSIVE},
        {"local_addr": ("127.0.0.1", 0), "reuse_port": True},
        {"local_addr": ("127.0.0.1", 0), "allow_broadcast": True},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": ("127.0.0.1", 9)},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": ("127.0.0.1", 9), "allow_broadcast": True},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": ("::1", 9)},
        {"remote_addr": ("255.255.255.255", 9)},
        {"local_addr": "127.0.0.1"},
        {"local_addr": ("127.0.0.1", 0, 0)},
        {"local_addr": ("127.0.0.1", 0), "reuse_address": True},
        {"local_addr": "\0ferrio parity", "family": socket.AF_UNIX},
        {"remote_addr": "/nowhere/at all", "family": socket.AF_UNIX},
        {"local_addr": 5, "family": socket.AF_UNIX},
    ],
    ids=str,
)
def test_every_way_to_make_an_endpoint_comes_to_the_same(scenario_in_both_modes: Play, options: dict[str, Any]) -> None:
    async def play(diary: Diary) -> None:
        protocol = Noted(diary)
        transport: Any = None
        with diary.raises("create"):
            transport, _ = await diary.loop.create_datagram_endpoint(lambda: protocol, **options)
        if transport is None:
            return
        diary("names", transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
        sock = transport.get_extra_info("socket")
        diary("socket", sock.family, sock.type, sock.proto, sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST))
        diary("repr", repr(transport), transport.is_reading(), transport.is_closing())
        diary("sizes", transport.get_write_buffer_size(), transport.get_write_buffer_limits())
        transport.close()
        await protocol.lost

    scenario_in_both_modes(play)


def test_a_stale_unix_socket_gives_way_and_a_file_does_not(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "name")
            for _ in range(2):
                transport, protocol = await diary.loop.create_datagram_endpoint(
                    lambda: Noted(diary), local_addr=path, family=socket.AF_UNIX
                )
                transport.close()
                await protocol.lost
            os.unlink(path)
            Path(path).touch()
            with diary.raises("a file"):
                await diary.loop.create_datagram_endpoint(lambda: Noted(diary), local_addr=path, family=socket.AF_UNIX)

    scenario(play)


def end(transport: Any) -> None:
    # asyncio's abort() fails on a transport that has ended after sending what waited.
    if transport._sock is not None:
        transport.abort()


@asyncio_counts_down
@pytest.mark.parametrize("seed", range(25))
def test_random_use_of_a_peer_that_is_often_full_shows_the_same(scenario: Play, seed: int) -> None:
    async def play(diary: Diary) -> None:
        order = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            peer.setblocking(False)
            path = os.path.join(folder, "peer")
            peer.bind(path)
            protocol = Noted(diary)
            transport: Any
            transport, _ = await diary.loop.create_datagram_endpoint(
                lambda: protocol,
                local_addr=os.path.join(folder, "ours"),
                remote_addr=path if order.random() < 0.5 else None,  # type: ignore[arg-type]
                family=socket.AF_UNIX,
            )
            for number in range(150):
                step = order.choices(
                    ["send", "read", "answer", "limits", "pause", "resume", "bad", "turns", "close", "abort"],
                    [60, 10, 10, 4, 3, 4, 3, 20, 0.5, 0.3],
                )[0]
                # What asyncio's transport cannot send any more between close() and its end, it keeps for ever.
                if step == "send" and not transport._conn_lost and transport._sock is not None:
                    transport.sendto(bytes(order.choice([1, 100, 5000])), path)
                elif step == "bad" and not transport.is_closing():
                    with diary.raises("bad"):
                        transport.sendto(b"x", os.path.join(folder, "nobody"))
                elif step == "read":
                    for _ in range(order.randrange(12)):
                        try:
                            diary("peer", len(peer.recv(10_000)))
                        except OSError as error:
                            diary("empty", error.errno == errno.EAGAIN)
                            break
                elif step == "answer" and transport._sock is not None:
                    peer.sendto(b"answer", os.path.join(folder, "ours"))
                    await turns(3)
                elif step == "limits":
                    transport.set_write_buffer_limits(order.choice([None, 0, 1000, 20_000]))
                elif step == "pause":
                    transport.pause_reading()
                elif step == "resume":
                    transport.resume_reading()
                elif step == "close":
                    transport.close()
                elif step == "abort":
                    end(transport)
                else:
                    await turns(4)
                diary("state", number, step, transport.get_write_buffer_size(), transport.is_closing())
                diary("reading", transport.is_reading())
            end(transport)
            await turns(3)
            peer.close()

    scenario(play)
