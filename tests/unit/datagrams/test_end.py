"""The end of datagram transports, their representation, and unusual descriptors."""

import asyncio
import errno
import gc
import os
import socket
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

from ..loops import NAME, ferrio_only, run, run_until, turn
from .asyncios import IS_DATAGRAM_TRANSPORT
from .endpoints import Endpoint, Recorder, bind, connect, connect_unix, fill, udp_socket
from .headers import counts_down

Loop = asyncio.AbstractEventLoop


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
