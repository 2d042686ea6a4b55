"""Flow control of datagram transports."""

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from ..loops import run, run_until
from .endpoints import Endpoint, Recorder, connect_unix, fill
from .headers import counts_down, header_bytes

Loop = asyncio.AbstractEventLoop


@counts_down
def test_what_finds_no_room_waits_and_leaves_in_order(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    count = fill(here.transport)
    header = header_bytes()
    assert here.transport.get_write_buffer_size() == len(b"%d" % (count - 1)) + header
    for number in range(count, count + 500):
        here.transport.sendto(b"%d" % number)
    waiting = sum(len(b"%d" % number) + header for number in range(count - 1, count + 500))
    assert here.transport.get_write_buffer_size() == waiting
    assert here.receive(count + 500) == [b"%d" % number for number in range(count + 500)]
    run_until(loop, lambda: here.transport.get_write_buffer_size() == 0)
    assert here.protocol.names == ["made"]
    here.end()


@counts_down
def test_the_protocol_pauses_above_the_mark_and_resumes_at_the_other(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    transport, protocol = here.transport, here.protocol
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    size = 1000 + header_bytes()
    transport.set_write_buffer_limits(high=10 * size, low=2 * size)
    assert transport.get_write_buffer_limits() == (2 * size, 10 * size)
    sent = 0
    while transport.get_write_buffer_size() < 10 * size:
        transport.sendto(bytes(1000))
        sent += 1
    assert protocol.names == ["made"]
    transport.sendto(bytes(1000))
    sent += 1
    assert protocol.names == ["made", "pause"]
    transport.sendto(bytes(1000))
    sent += 1
    assert protocol.names == ["made", "pause"]
    assert len(here.receive(sent)) == sent
    assert protocol.names == ["made", "pause", "resume"]
    here.end()


def test_lowered_marks_pause_at_once(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    fill(here.transport)
    here.transport.set_write_buffer_limits(0)
    assert here.protocol.names == ["made", "pause"]
    for wrong in [{"high": 1, "low": 2}, {"low": -1}]:
        with pytest.raises(ValueError, match="must be >= low"):
            here.transport.set_write_buffer_limits(**wrong)
    here.end()


@counts_down
def test_what_the_protocol_sends_when_it_resumes_leaves_last(loop: Loop, tmp_path: Path) -> None:
    class Sending(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.sendto(b"resumed")

    here = connect_unix(loop, str(tmp_path / "peer"), Sending)
    here.transport.set_write_buffer_limits(0)
    count = fill(here.transport)
    assert here.receive(count + 1) == [*(b"%d" % number for number in range(count)), b"resumed"]
    here.end()


@counts_down
def test_a_failing_pause_writing_is_reported_and_ends_nothing(
    loop: Loop, contexts: list[dict[str, Any]], tmp_path: Path
) -> None:
    class Failing(Recorder):
        def pause_writing(self) -> None:
            raise ZeroDivisionError

    here = connect_unix(loop, str(tmp_path / "peer"), Failing)
    here.transport.set_write_buffer_limits(0)
    count = fill(here.transport)
    assert [context["message"] for context in contexts] == ["protocol.pause_writing() failed"]
    assert len(here.receive(count)) == count
    assert here.protocol.names == ["made", "resume"]
    here.end()


def test_waiting_bytes_are_those_that_were_given(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    count = fill(here.transport)
    data = bytearray(b"original")
    here.transport.sendto(data)
    here.transport.sendto(memoryview(data)[:4])
    here.transport.sendto(memoryview(data)[::2])
    data[:] = b"CHANGED!"
    assert here.receive(count + 3)[-3:] == [b"original", b"orig", b"oiia"]
    here.end()


def test_waiting_datagrams_go_each_to_its_own_address(loop: Loop, tmp_path: Path) -> None:
    names = ["first", "second", "zweite ä"]
    peers = []
    for name in names:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        peer.bind(str(tmp_path / name))
        peer.setblocking(False)
        peers.append(peer)
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    paths = [str(tmp_path / name) for name in names]
    sent = 0
    while transport.get_write_buffer_size() == 0:
        transport.sendto(b"0", paths[0])
        sent += 1
    order = random.Random(1).choices(range(3), k=200)
    for number, index in enumerate(order):
        transport.sendto(b"%d" % number, paths[index])
    received: list[list[bytes]] = [[], [], []]

    def is_complete() -> bool:
        for peer, datagrams in zip(peers, received, strict=True):
            datagrams.extend(Endpoint(loop, None, None, peer).waiting())  # type: ignore[type-var]
        return sum(map(len, received)) == sent + 200

    run_until(loop, is_complete)
    assert received[0][:sent] == [b"0"] * sent
    received[0] = received[0][sent:]
    assert received == [[b"%d" % number for number, each in enumerate(order) if each == index] for index in range(3)]
    assert protocol.names == ["made"]
    transport.abort()
    run_until(loop, lambda: protocol.is_lost)
    for peer in peers:
        peer.close()


@counts_down
def test_an_error_of_a_waiting_datagram_is_the_protocols_and_the_rest_leaves(loop: Loop, tmp_path: Path) -> None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(str(tmp_path / "peer"))
    peer.setblocking(False)
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    here = Endpoint(loop, transport, protocol, peer)
    path = str(tmp_path / "peer")
    sent = 0
    while transport.get_write_buffer_size() == 0:
        transport.sendto(b"0", path)
        sent += 1
    for number in range(5):
        transport.sendto(b"to nobody", str(tmp_path / "nobody"))
        transport.sendto(b"%d" % number, path)
    assert here.receive(sent + 5)[sent:] == [b"0", b"1", b"2", b"3", b"4"]
    run_until(loop, lambda: transport.get_write_buffer_size() == 0)
    assert [type(error) for error in protocol.errors] == [FileNotFoundError] * 5
    here.end()
