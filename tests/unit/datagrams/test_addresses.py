"""Addresses of single datagrams, sent and received."""

import asyncio
import errno
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..loops import run, run_until
from .asyncios import (
    HAS_IPV6,
    HOSTS,
    needs_ipv6,
    sends_empty_datagrams,
)
from .endpoints import Endpoint, Recorder, bind, connect, connect_unix, udp_socket

Loop = asyncio.AbstractEventLoop


@pytest.mark.parametrize("host", HOSTS)
def test_a_datagram_comes_with_the_address_that_recvfrom_gives(loop: Loop, host: str) -> None:
    here = bind(loop, host=host)
    here.peer.sendto(b"question", here.name)
    run_until(loop, lambda: here.protocol.received)
    ((_, data, addr),) = here.protocol.events[1:]
    assert (data, type(data)) == (b"question", bytes)
    assert addr == here.peer.getsockname()
    assert [type(part) for part in addr] == [type(part) for part in here.peer.getsockname()]
    here.transport.sendto(b"answer", addr)
    data, sender = here.peer.recvfrom(100)
    assert (data, sender) == (b"answer", here.name)
    here.end()


@pytest.mark.parametrize("host", HOSTS)
def test_each_of_many_peers_is_answered(loop: Loop, host: str) -> None:
    class Echo(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)

    here = bind(loop, Echo, host)
    peers = [udp_socket(host) for _ in range(20)]
    order = random.Random(1)
    expected: dict[Any, list[bytes]] = {peer.getsockname(): [] for peer in peers}
    for number in range(400):
        peer = order.choice(peers)
        peer.sendto(b"%d" % number, here.name)
        expected[peer.getsockname()].append(b"%d" % number)
        if number % 50 == 49:
            run_until(loop, lambda number=number: len(here.protocol.received) == number + 1)
    for peer in peers:
        echoed = Endpoint(loop, None, None, peer).waiting()  # type: ignore[type-var]
        assert echoed == expected[peer.getsockname()]
        peer.close()
    assert list(zip(here.protocol.received, here.protocol.senders, strict=True)) == sorted(
        ((data, addr) for addr, sent in expected.items() for data in sent), key=lambda each: int(each[0])
    )
    here.end()


@needs_ipv6
@pytest.mark.parametrize("length", [2, 3, 4])
def test_ipv6_addresses_may_leave_out_flow_and_scope(loop: Loop, length: int) -> None:
    here = bind(loop, host="::1")
    here.transport.sendto(b"data", here.peer.getsockname()[:length])
    assert here.waiting() == [b"data"]
    here.end()


def link_local() -> tuple[str, int] | None:
    """A link-local address of this machine with the number of its interface."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines() if HAS_IPV6 else []:
        digits, index, _, scope, *_ = line.split()
        if scope == "20":
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), int(index, 16)
    return None


@pytest.mark.skipif(link_local() is None, reason="this machine has no link-local address")
def test_a_scope_goes_out_and_comes_in(loop: Loop) -> None:
    host, scope = link_local() or ("", 0)
    peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    peer.bind((host, 0, 0, scope))
    peer.setblocking(False)
    ours = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    ours.bind((host, 0, 0, scope))
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    here = Endpoint(loop, transport, protocol, peer)
    transport.sendto(b"out", peer.getsockname())
    assert here.receive(1) == [b"out"]
    peer.sendto(b"in", here.name)
    run_until(loop, lambda: protocol.received)
    assert protocol.senders == [peer.getsockname()]
    assert protocol.senders[0][3] == scope
    here.end()


@pytest.mark.parametrize("name", ["path", "päth", "abstract", "none"])
def test_unix_senders_are_named_as_recvfrom_names_them(loop: Loop, tmp_path: Path, name: str) -> None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.setblocking(False)
    if name == "abstract":
        peer.bind(b"\0ferrio test %d \0 \xff" % os.getpid())
    elif name != "none":
        peer.bind(str(tmp_path / name))
    ours = str(tmp_path / "ours")
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, local_addr=ours, family=socket.AF_UNIX))
    peer.sendto(b"data", ours)
    run_until(loop, lambda: protocol.received)
    (sender,) = protocol.senders
    assert sender == (None if name == "none" else peer.getsockname())
    assert type(sender) is {"abstract": bytes, "none": type(None)}.get(name, str)
    here = Endpoint(loop, transport, protocol, peer)
    if name != "none":
        transport.sendto(b"answer", sender)
        assert here.waiting() == [b"answer"]
    here.end()


def test_unix_paths_may_be_bytes(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    transport.sendto(b"data", os.fsencode(tmp_path / "peer"))
    assert here.waiting() == [b"data"]
    transport.abort()
    run_until(loop, lambda: protocol.is_lost)
    here.end()


class Address(NamedTuple):
    host: str
    port: int


@pytest.mark.parametrize(
    "form",
    [
        lambda host, port: (host, port),
        lambda host, port: Address(host, port),
        lambda host, port: ("localhost", port),
        lambda host, port: (str(host.encode(), "ascii"), int(str(port))),
        lambda host, port: (bytearray(host.encode()), port),
    ],
    ids=["tuple", "named tuple", "host name", "new objects", "bytearray"],
)
def test_an_address_may_have_any_form_that_a_socket_takes(loop: Loop, form: Callable[[str, int], Any]) -> None:
    here = bind(loop)
    for number in range(3):
        here.transport.sendto(b"%d" % number, form(*here.peer.getsockname()))
    assert here.waiting() == [b"0", b"1", b"2"]
    here.end()


@pytest.mark.parametrize(
    "address",
    [None, 5, "127.0.0.1", ["127.0.0.1", 1], ("127.0.0.1",), ("127.0.0.1", 1, 2), ("127.0.0.1", "1"), (1, 1)],
    ids=str,
)
def test_an_address_that_is_none_ends_the_transport(loop: Loop, contexts: list[dict[str, Any]], address: Any) -> None:
    here = bind(loop)
    with pytest.raises((TypeError, OSError)) as expected, udp_socket() as sock:
        sock.sendto(b"data", address)
    here.transport.sendto(b"data", address)
    assert here.transport.is_closing()
    run_until(loop, lambda: here.protocol.is_lost)
    lost_with = here.protocol.lost_with
    assert (type(lost_with), lost_with.args) == (type(expected.value), expected.value.args)  # type: ignore[union-attr]
    (context,) = contexts
    assert context["message"] == "Fatal write error on datagram transport"
    assert context["exception"] is lost_with
    assert context["transport"] is here.transport
    assert context["protocol"] is here.protocol
    here.peer.close()


@pytest.mark.parametrize("port", [-1, 65536, 1 << 70])
def test_a_port_out_of_range_ends_the_transport(loop: Loop, contexts: list[dict[str, Any]], port: int) -> None:
    here = bind(loop)
    here.transport.sendto(b"data", ("127.0.0.1", port))
    run_until(loop, lambda: here.protocol.is_lost)
    assert isinstance(here.protocol.lost_with, OverflowError)
    assert [context["exception"] for context in contexts] == [here.protocol.lost_with]
    here.peer.close()


def test_an_unknown_host_is_the_protocols(loop: Loop) -> None:
    here = bind(loop)
    here.transport.sendto(b"data", ("no such host", 1))
    (error,) = here.protocol.errors
    assert isinstance(error, socket.gaierror)
    assert not here.transport.is_closing()
    here.end()


@pytest.mark.parametrize("data", ["text", None, 5, [1]], ids=str)
def test_what_is_no_bytes_is_refused_in_asyncios_words(loop: Loop, data: Any) -> None:
    here = bind(loop)
    with pytest.raises(TypeError, match=f"not '{type(data).__name__}'") as refused:
        here.transport.sendto(data, here.peer.getsockname())
    assert str(refused.value).startswith("data argument must be ")
    here.end()


def test_another_address_than_the_endpoints_is_refused(loop: Loop) -> None:
    here = connect(loop)
    remote = here.peer.getsockname()
    for other in [("127.0.0.1", 1), (remote[0], remote[1], 0), "127.0.0.1", [*remote]]:
        with pytest.raises(ValueError, match="Invalid address") as refused:
            here.transport.sendto(b"data", other)
        assert str(refused.value) == f"Invalid address: must be None or {remote}"
    for same in [None, remote, (str(remote[0]), remote[1])]:
        here.transport.sendto(b"data", same)
    assert here.waiting() == [b"data"] * 3
    here.end()


def test_the_address_of_a_connected_socket_is_not_looked_at(loop: Loop) -> None:
    peer, stranger, ours = udp_socket(), udp_socket(), udp_socket()
    ours.connect(peer.getsockname())
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    here = Endpoint(loop, transport, protocol, peer)
    transport.sendto(b"first")
    transport.sendto(b"second", stranger.getsockname())
    assert here.waiting() == [b"first", b"second"]
    assert Endpoint(loop, None, None, stranger).waiting() == []  # type: ignore[type-var]
    stranger.close()
    here.end()


def test_a_remote_address_with_broadcast_is_sent_to_without_being_connected(loop: Loop) -> None:
    peer = udp_socket()
    creating = loop.create_datagram_endpoint(Recorder, remote_addr=peer.getsockname(), allow_broadcast=True)
    transport, protocol = run(loop, creating)
    here = Endpoint(loop, transport, protocol, peer)
    assert transport.get_extra_info("peername") is None
    assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
    transport.sendto(b"first")
    transport.sendto(b"second", peer.getsockname())
    assert here.waiting() == [b"first", b"second"]
    with pytest.raises(ValueError, match="Invalid address"):
        transport.sendto(b"third", ("127.0.0.1", 1))
    here.end()


def test_arguments_may_be_named(loop: Loop) -> None:
    here = bind(loop)
    address = here.peer.getsockname()
    here.transport.sendto(data=b"1", addr=address)
    here.transport.sendto(b"2", addr=address)
    assert here.waiting() == [b"1", b"2"]
    for args, kwargs in [((), {}), ((b"1", address, 0), {}), ((b"1",), {"data": b"2"}), ((b"1",), {"to": address})]:
        with pytest.raises(TypeError):
            here.transport.sendto(*args, **kwargs)
    here.end()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, type("Derived", (bytes,), {})])
def test_data_may_be_any_kind_of_bytes(loop: Loop, kind: Callable[[bytes], Any]) -> None:
    here = connect(loop)
    here.transport.sendto(kind(b"data"))
    here.transport.sendto(memoryview(kind(b"words and more"))[:5])
    assert here.waiting() == [b"data", b"words"]
    here.end()


def test_a_view_with_gaps_is_what_a_socket_makes_of_it(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    here = connect(loop)
    here.transport.sendto(memoryview(b"abcdef")[::2])
    run_until(loop, lambda: here.protocol.is_lost)
    assert isinstance(here.protocol.lost_with, BufferError)
    assert [context["message"] for context in contexts] == ["Fatal write error on datagram transport"]
    assert here.waiting() == []
    here.peer.close()


def test_empty_datagrams_are_sent_where_asyncio_sends_them(loop: Loop) -> None:
    here = connect(loop)
    for data in (b"", bytearray(), memoryview(b""), b"end"):
        here.transport.sendto(data)
    assert here.waiting() == [b""] * 3 * sends_empty_datagrams() + [b"end"]
    here.end()


def test_empty_datagrams_are_received(loop: Loop) -> None:
    here = connect(loop)
    for data in (b"", b"data", b""):
        here.peer.sendto(data, here.name)
    run_until(loop, lambda: len(here.protocol.received) == 3)
    assert here.protocol.received == [b"", b"data", b""]
    here.end()


@pytest.mark.parametrize("size", [1, 479, 480, 481, 4096, 4097, 65_507])
def test_datagrams_of_all_sizes_arrive_whole(loop: Loop, size: int) -> None:
    here = connect(loop)
    first, second = random.Random(size).randbytes(size), random.Random(-size).randbytes(size)
    for data in (first, second):
        here.transport.sendto(data)
        assert here.waiting() == [data]
        here.peer.sendto(data, here.name)
    run_until(loop, lambda: len(here.protocol.received) == 2)
    assert here.protocol.received == [first, second]
    here.end()


def test_a_datagram_is_cut_at_256_kib(loop: Loop) -> None:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    data = random.Random(1).randbytes(300_000)
    try:
        peer.send(data)
    except OSError:
        peer.close()
        ours.close()
        pytest.skip("this machine's send buffers hold no such datagram")
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=ours))
    peer.send(b"next")
    run_until(loop, lambda: len(protocol.received) == 2)
    assert protocol.received == [data[: 256 * 1024], b"next"]
    Endpoint(loop, transport, protocol, peer).end()


def test_a_datagram_that_is_too_long_is_the_protocols_and_the_next_one_leaves(loop: Loop) -> None:
    here = connect(loop)
    here.transport.sendto(bytes(70_000))
    here.transport.sendto(b"short")
    assert [error.errno for error in here.protocol.errors] == [errno.EMSGSIZE]  # type: ignore[attr-defined]
    assert here.waiting() == [b"short"]
    here.end()
