"""The calls that a datagram protocol gets, network errors included."""

import asyncio
import contextvars
import errno
import itertools
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ..loops import ferrio_only, run, run_until, turn
from .asyncios import HOSTS
from .endpoints import Endpoint, Recorder, bind, connect, connect_unix, fill, udp_socket
from .headers import counts_down

Loop = asyncio.AbstractEventLoop


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
