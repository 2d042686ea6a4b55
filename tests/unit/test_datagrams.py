"""Datagram endpoints: one datagram a call, to its address and from it, flow control, errors, the end."""

import asyncio
import contextvars
import errno
import gc
import itertools
import os
import random
import socket
import subprocess
import sys
import textwrap
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .datagrams import Endpoint, Recorder, bind, connect, connect_unix, fill, udp_socket
from .loops import NAME, ferrio_only, run, run_until, turn

Loop = asyncio.AbstractEventLoop

HAS_IPV6 = socket.has_ipv6 and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text()
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
HOSTS = ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)]


#: asyncio's own became one with 3.12.
IS_DATAGRAM_TRANSPORT = sys.version_info >= (3, 12)
_THEIRS = asyncio.selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]
counts_down = pytest.mark.skipif(
    NAME == "asyncio" and sys.version_info[:2] == (3, 13) and not hasattr(_THEIRS, "_header_size"),
    reason="this asyncio counts headers that it does not take back, so that nothing ever resumes",
)


def sends_empty_datagrams() -> bool:
    """Whether asyncio sends them here: it began to between two releases of 3.12."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setblocking(False)
    loop = asyncio.SelectorEventLoop()
    with ours, theirs:

        async def send() -> bool:
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours)
            # Only a socket with a peer that has a name is sent to without an address.
            transport._extra["peername"] = "somebody"
            transport.sendto(b"")
            transport.abort()
            await asyncio.sleep(0)
            try:
                return theirs.recv(1) == b""
            except BlockingIOError:
                return False

        try:
            return loop.run_until_complete(send())
        finally:
            loop.close()


def header_bytes() -> int:
    """What asyncio counts here for each waiting datagram beyond its own bytes."""
    return 8 if sys.version_info >= (3, 13) else 0


# --- to and from addresses ----------------------------------------------------------------------------------


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


# --- the protocol -------------------------------------------------------------------------------------------


def test_the_protocol_hears_of_its_connection_before_anything_else(loop: Loop) -> None:
    sock, peer = udp_socket(), udp_socket()
    peer.sendto(b"early", sock.getsockname())
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=sock))
    run_until(loop, lambda: protocol.received)
    assert [name for name, *_ in protocol.events] == ["made", "datagram"]
    Endpoint(loop, transport, protocol, peer).end()


def test_sending_works_from_connection_made_on(loop: Loop) -> None:
    class Greeting(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.sendto(b"hello")

    here = connect(loop, Greeting)
    assert here.waiting() == [b"hello"]
    here.end()


def test_a_failing_protocol_is_reported_and_hears_of_the_next_datagram(
    loop: Loop, contexts: list[dict[str, Any]]
) -> None:
    class Failing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise ZeroDivisionError(data)

    here = bind(loop, Failing)
    for number in range(40):
        here.peer.sendto(b"%d" % number, here.name)
    run_until(loop, lambda: len(here.protocol.received) == 40)
    assert [context["exception"].args[0] for context in contexts] == [b"%d" % number for number in range(40)]
    assert {context["message"].partition("Transport")[2] for context in contexts} == {"._read_ready()"}
    assert isinstance(contexts[0]["handle"], asyncio.Handle)
    assert not here.transport.is_closing()
    here.end()


def test_an_exception_of_error_received_is_the_senders(loop: Loop) -> None:
    class Failing(Recorder):
        def error_received(self, exc: Exception) -> None:
            assert sys.exc_info()[1] is exc
            raise ZeroDivisionError

    here = connect(loop, Failing)
    with pytest.raises(ZeroDivisionError):
        here.transport.sendto(bytes(70_000))
    assert not here.transport.is_closing()
    here.end()


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_nothing_is_delivered_after_an_end_within_datagram_received(loop: Loop, ending: str) -> None:
    class Ending(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"60":
                getattr(self.transport, ending)()

    here = bind(loop, Ending)
    for number in range(100):
        here.peer.sendto(b"%d" % number, here.name)
    run_until(loop, lambda: here.protocol.is_lost)
    assert here.protocol.received == [b"%d" % number for number in range(61)]
    assert here.protocol.names == ["made", "lost"]
    here.peer.close()


def test_a_flood_leaves_room_for_callbacks(loop: Loop) -> None:
    here = bind(loop)
    for number in range(120):
        here.peer.sendto(b"%d" % number, here.name)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(here.protocol.received))
        if seen[-1] < 120:
            loop.call_soon(look)

    loop.call_soon(look)
    run_until(loop, lambda: seen[-1:] == [120])
    assert here.protocol.received == [b"%d" % number for number in range(120)]
    assert max(later - earlier for earlier, later in itertools.pairwise(seen)) <= 32
    here.end()


def test_pausing_within_datagram_received_keeps_the_rest(loop: Loop) -> None:
    class Pausing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if len(self.received) % 25 == 0:
                self.transport.pause_reading()

    here = bind(loop, Pausing)
    for number in range(100):
        here.peer.sendto(b"%d" % number, here.name)
    for expected in (25, 50, 75, 100):
        run_until(loop, lambda expected=expected: len(here.protocol.received) == expected)
        turn(loop, 3)
        assert len(here.protocol.received) == expected
        assert not here.transport.is_reading()
        here.transport.sendto(b"paused", here.peer.getsockname())
        here.transport.resume_reading()
        assert here.transport.is_reading()
    assert here.protocol.received == [b"%d" % number for number in range(100)]
    assert here.waiting() == [b"paused"] * 4
    here.end()


def test_another_protocol_gets_the_next_datagram(loop: Loop) -> None:
    second = Recorder()

    class First(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"50":
                self.transport.set_protocol(second)

    here = bind(loop, First)
    assert here.transport.get_protocol() is here.protocol
    for number in range(100):
        here.peer.sendto(b"%d" % number, here.name)
    run_until(loop, lambda: len(second.received) == 49)
    assert here.protocol.received + second.received == [b"%d" % number for number in range(100)]
    assert here.transport.get_protocol() is second
    here.end()
    assert (here.protocol.names, second.names) == (["made"], ["lost"])


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_loses_no_datagram(loop: Loop, exception: type[BaseException]) -> None:
    class Interrupted(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"40":
                raise exception

    here = bind(loop, Interrupted)
    for number in range(80):
        here.peer.sendto(b"%d" % number, here.name)
    with pytest.raises(exception):
        loop.run_forever()
    assert here.protocol.received[-1] == b"40"
    run_until(loop, lambda: len(here.protocol.received) == 80)
    assert here.protocol.received == [b"%d" % number for number in range(80)]
    here.end()


@counts_down
def test_datagrams_come_in_the_context_of_the_endpoint_and_room_in_that_of_the_sender(
    loop: Loop, tmp_path: Path
) -> None:
    place = contextvars.ContextVar("place", default="nowhere")

    class Placed(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.events.append(("datagram", data, place.get()))

        def resume_writing(self) -> None:
            self.events.append(("resume", place.get()))

    context = contextvars.copy_context()
    context.run(place.set, "made")
    path = str(tmp_path / "ours")
    peer_path = str(tmp_path / "peer")

    async def create() -> Endpoint[Placed]:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        peer.bind(peer_path)
        peer.setblocking(False)
        transport, protocol = await loop.create_datagram_endpoint(
            Placed, local_addr=path, remote_addr=peer_path, family=socket.AF_UNIX
        )
        return Endpoint(loop, transport, protocol, peer)

    here = context.run(run, loop, create())
    here.peer.sendto(b"data", path)
    run_until(loop, lambda: here.protocol.received)
    assert here.protocol.senders == ["made"]
    here.transport.set_write_buffer_limits(high=0)
    sender = contextvars.copy_context()
    sender.run(place.set, "sent")
    sender.run(fill, here.transport)
    here.waiting()
    run_until(loop, lambda: ("resume", "sent") in here.protocol.events)
    here.end()


def test_whoever_resumes_reading_gives_the_context(loop: Loop) -> None:
    place = contextvars.ContextVar("place", default="nowhere")

    class Placed(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.events.append(("datagram", data, place.get()))

    here = bind(loop, Placed)
    here.transport.pause_reading()
    here.peer.sendto(b"data", here.name)
    context = contextvars.copy_context()
    context.run(place.set, "resumed")
    context.run(here.transport.resume_reading)
    run_until(loop, lambda: here.protocol.received)
    assert here.protocol.senders == ["resumed"]
    here.end()


@ferrio_only
def test_the_audit_event_of_a_socket_is_raised(loop: Loop) -> None:
    # A hook cannot be taken away again, so it lives in a process of its own.
    script = """
        import asyncio, socket, sys
        import ferrio

        heard = []

        def hook(event, args):
            if event == "socket.sendto":
                heard.append(args[1])
                if args[1][1] == 7:
                    raise ConnectionAbortedError("not there")

        errors = []

        class Protocol(asyncio.DatagramProtocol):
            def error_received(self, exc):
                errors.append(exc)

        async def main():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
            address = transport.get_extra_info("sockname")
            sys.addaudithook(hook)
            transport.sendto(b"data", address)
            transport.sendto(b"data", ("127.0.0.1", 7))
            assert heard == [address, ("127.0.0.1", 7)], heard
            assert [str(error) for error in errors] == ["not there"], errors
            transport.close()

        ferrio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=30)


# --- errors of the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_a_refusal_reaches_a_connected_endpoint_which_lives_on(loop: Loop, host: str) -> None:
    here = connect(loop, host=host)
    address = here.peer.getsockname()
    here.peer.close()
    here.transport.sendto(b"nobody")
    run_until(loop, lambda: here.protocol.errors)
    assert [type(error) for error in here.protocol.errors] == [ConnectionRefusedError]
    assert here.protocol.errors[0].args == (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    assert not here.transport.is_closing()
    here.peer = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    here.peer.bind(address)
    here.peer.setblocking(False)
    here.transport.sendto(b"somebody")
    assert here.waiting() == [b"somebody"]
    here.end()


def test_a_refusal_does_not_reach_an_endpoint_that_is_not_connected(loop: Loop) -> None:
    here = bind(loop)
    with udp_socket() as gone:
        nobody = gone.getsockname()
    here.transport.sendto(b"nobody", nobody)
    here.transport.sendto(b"somebody", here.peer.getsockname())
    assert here.receive(1) == [b"somebody"]
    assert here.protocol.errors == []
    here.end()


def test_a_missing_unix_peer_is_the_protocols(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    here.peer.close()
    here.transport.sendto(b"nobody")
    assert [type(error) for error in here.protocol.errors] == [ConnectionRefusedError]
    assert not here.transport.is_closing()
    here.end()


# --- flow control -------------------------------------------------------------------------------------------


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


# --- the end ------------------------------------------------------------------------------------------------


def test_close_sends_what_waits_and_then_ends(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    count = fill(here.transport)
    here.transport.close()
    here.transport.close()
    assert here.transport.is_closing()
    here.transport.sendto(b"after")
    turn(loop, 3)
    assert not here.protocol.is_lost
    assert here.receive(count + 1)[-1] == b"after"
    run_until(loop, lambda: here.protocol.is_lost)
    assert here.protocol.lost_with is None
    assert here.transport._sock is None
    here.peer.close()


def test_close_without_anything_waiting_ends_in_the_next_turn(loop: Loop) -> None:
    here = bind(loop)
    here.transport.close()
    assert here.transport.is_closing()
    assert not here.protocol.is_lost
    turn(loop)
    assert here.protocol.lost_with is None
    here.peer.close()


def test_abort_drops_what_waits(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    count = fill(here.transport)
    here.transport.abort()
    here.transport.abort()
    turn(loop)
    assert here.protocol.lost_with is None
    assert here.waiting() == [b"%d" % number for number in range(count - 1)]
    here.peer.close()


def test_a_connected_endpoint_that_is_lost_drops_and_warns(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    here = connect(loop)
    here.transport.abort()
    for _ in range(7):
        here.transport.sendto(b"data")
    turn(loop)
    here.transport.sendto(b"data")
    assert here.waiting() == []
    assert [record.getMessage() for record in caplog.records] == ["socket.send() raised exception."] * 4
    here.peer.close()


def test_an_endpoint_that_is_not_connected_sends_until_it_has_ended(loop: Loop) -> None:
    here = bind(loop)
    here.transport.close()
    here.transport.sendto(b"last", here.peer.getsockname())
    assert here.waiting() == [b"last"]
    turn(loop)
    with pytest.raises(AttributeError):
        here.transport.sendto(b"more", here.peer.getsockname())
    here.peer.close()


def test_a_failing_connection_lost_still_closes_the_socket(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    class Failing(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise ZeroDivisionError

    here = bind(loop, Failing)
    sock = here.transport._sock
    here.transport.close()
    turn(loop, 2)
    assert sock.fileno() == -1
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
    here.peer.close()


@counts_down
def test_a_failing_connection_lost_after_the_last_datagram_is_reported(
    loop: Loop, contexts: list[dict[str, Any]], tmp_path: Path
) -> None:
    class Failing(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise ZeroDivisionError

    here = connect_unix(loop, str(tmp_path / "peer"), Failing)
    count = fill(here.transport)
    sock = here.transport._sock
    here.transport.close()
    assert len(here.receive(count)) == count
    run_until(loop, lambda: contexts)
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
    assert sock.fileno() == -1
    here.peer.close()


@ferrio_only
def test_resuming_may_end_the_transport_which_is_lost_once(loop: Loop, tmp_path: Path) -> None:
    """asyncio calls ``connection_lost`` a second time, on nothing."""

    class Ending(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.close()

    here = connect_unix(loop, str(tmp_path / "peer"), Ending)
    here.transport.set_write_buffer_limits(high=1)
    count = fill(here.transport)
    here.transport.sendto(b"last")
    assert here.protocol.names == ["made", "pause"]
    assert len(here.receive(count + 1)) == count + 1
    run_until(loop, lambda: here.protocol.is_lost)
    turn(loop, 2)
    assert here.protocol.names == ["made", "pause", "resume", "lost"]
    here.peer.close()


def test_a_forgotten_endpoint_warns_and_closes_its_socket(loop: Loop) -> None:
    here = bind(loop)
    # While it is read the loop holds it.
    here.transport.pause_reading()
    turn(loop)
    sock, fate = here.transport._sock, weakref.ref(here.transport)
    shown = repr(here.transport)
    here.peer.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del here
        gc.collect()
    assert [(each.category, str(each.message)) for each in caught] == [(ResourceWarning, f"unclosed transport {shown}")]
    # A warning may refer to its source.
    caught.clear()
    gc.collect()
    assert fate() is None
    assert sock.fileno() == -1


def test_an_endpoint_that_is_read_lives_without_its_user(loop: Loop) -> None:
    here = bind(loop)
    peer, name, protocol = here.peer, here.name, weakref.ref(here.protocol)
    del here
    gc.collect()
    peer.sendto(b"data", name)
    run_until(loop, lambda: protocol().received)  # type: ignore[union-attr]
    Endpoint(loop, protocol().transport, protocol(), peer).end()  # type: ignore[union-attr, type-var]
    gc.collect()
    assert protocol() is None


def test_an_ended_endpoint_in_a_cycle_is_collected(loop: Loop) -> None:
    here = bind(loop)
    here.protocol.transport.itself = here.transport  # type: ignore[attr-defined]
    here.transport.sendto(b"data", here.peer.getsockname())
    here.end()
    fate = weakref.ref(here.transport)
    del here
    gc.collect()
    assert fate() is None


def test_a_cancelled_creation_leaves_nothing_open(loop: Loop) -> None:
    async def create() -> None:
        task = loop.create_task(loop.create_datagram_endpoint(Recorder, local_addr=("127.0.0.1", 0)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for _ in range(10):
        run(loop, create())


# --- what shows ---------------------------------------------------------------------------------------------


def test_the_type_is_what_asyncios_is(loop: Loop) -> None:
    here = bind(loop)
    assert isinstance(here.transport, asyncio.Transport)
    assert isinstance(here.transport, asyncio.transports._FlowControlMixin)  # type: ignore[attr-defined]
    if IS_DATAGRAM_TRANSPORT or NAME == "ferrio":
        assert isinstance(here.transport, asyncio.DatagramTransport)
    here.end()


def test_repr_tells_its_state(loop: Loop, tmp_path: Path) -> None:
    here = connect_unix(loop, str(tmp_path / "peer"))
    fd = here.transport.get_extra_info("socket").fileno()
    turn(loop)
    name = type(here.transport).__name__
    assert repr(here.transport) == f"<{name} fd={fd} read=polling write=<idle, bufsize=0>>"
    fill(here.transport)
    size = here.transport.get_write_buffer_size()
    assert repr(here.transport) == f"<{name} fd={fd} read=polling write=<polling, bufsize={size}>>"
    here.transport.pause_reading()
    assert repr(here.transport) == f"<{name} fd={fd} read=idle write=<polling, bufsize={size}>>"
    here.transport.close()
    assert repr(here.transport) == f"<{name} closing fd={fd} read=idle write=<polling, bufsize={size}>>"
    here.end()
    assert repr(here.transport) == f"<{name} closed fd={fd}>"


def test_extra_info_has_the_socket_and_both_names(loop: Loop) -> None:
    here = connect(loop)
    info = here.transport.get_extra_info
    assert info("peername") == here.peer.getsockname()
    assert info("sockname") == info("socket").getsockname()
    assert isinstance(info("socket"), asyncio.trsock.TransportSocket)  # type: ignore[attr-defined]
    assert info("nothing", 5) == 5
    here.end()


def test_ports_may_be_shared(loop: Loop) -> None:
    first, one = run(loop, loop.create_datagram_endpoint(Recorder, ("127.0.0.1", 0), reuse_port=True))
    address = first.get_extra_info("sockname")
    second, other = run(loop, loop.create_datagram_endpoint(Recorder, address, reuse_port=True))
    peer = udp_socket()
    peer.sendto(b"data", address)
    run_until(loop, lambda: one.received + other.received)
    assert one.received + other.received == [b"data"]
    for transport in (first, second):
        transport.close()
    run_until(loop, lambda: one.is_lost and other.is_lost)
    peer.close()


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="a family of Linux")
def test_other_families_work_as_in_asyncio(loop: Loop) -> None:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
    sock.bind((0, 0))
    transport, protocol = run(loop, loop.create_datagram_endpoint(Recorder, sock=sock))
    # A request for the links of this machine, which the kernel answers.
    request = (20).to_bytes(4, sys.byteorder) + (18).to_bytes(2, sys.byteorder) + (0x301).to_bytes(2, sys.byteorder)
    transport.sendto(request + bytes(12), (0, 0))
    run_until(loop, lambda: protocol.received)
    assert protocol.senders[0] == (0, 0)
    transport.close()
    run_until(loop, lambda: protocol.is_lost)


# --- descriptors that are not what they seem ----------------------------------------------------------------


@ferrio_only
@pytest.mark.parametrize("paused", [False, True])
def test_no_datagram_goes_out_on_a_socket_that_has_got_the_number(loop: Any, paused: bool) -> None:
    """Closed from outside, and the number given to another socket that the loop watches."""
    old, peer = connect(loop), udp_socket()
    number = old.transport._sock.fileno()
    if paused:
        old.transport.pause_reading()
    os.close(number)
    new = udp_socket()
    assert new.fileno() == number
    new.connect(peer.getsockname())
    heard: list[bytes] = []
    loop._add_reader(new, lambda: heard.append(new.recv(100)))
    old.transport.sendto(b"for the old peer")
    assert [error.errno for error in old.protocol.errors] == [errno.EBADF]  # type: ignore[attr-defined]
    assert Endpoint(loop, None, None, peer).waiting() == old.waiting() == []  # type: ignore[type-var]
    peer.sendto(b"for the new one", new.getsockname())
    run_until(loop, lambda: heard)
    assert (heard, old.protocol.received) == ([b"for the new one"], [])
    # Ended without closing the number that is another's now.
    old.transport._sock.detach()
    old.transport.abort()
    turn(loop)
    assert old.protocol.is_lost
    peer.sendto(b"still hearing", new.getsockname())
    run_until(loop, lambda: len(heard) == 2)
    loop._remove_reader(new)
    for sock in (new, peer, old.peer):
        sock.close()


def test_a_socket_closed_from_outside_is_an_error_of_sending(loop: Loop) -> None:
    here = connect(loop)
    here.transport._sock.close()
    here.transport.sendto(b"data")
    assert [error.errno for error in here.protocol.errors] == [errno.EBADF]  # type: ignore[attr-defined]
    here.transport.abort()
    turn(loop)
    assert here.protocol.is_lost
    here.peer.close()
