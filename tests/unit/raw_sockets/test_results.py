"""Results and exceptions of ``sock_recv`` and its relatives."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from ..loops import LIMIT_S, ferrio_only, new_loop, run, turn
from ..socket_pairs import Pair, drain, fill, tcp_pair
from .sockets import CALLS, Loop, ended, in_turn, udp_pair, unix_datagrams, waiting


def test_what_is_there_is_received_without_a_turn(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"abc")
    operation: Any = loop.sock_recv(ours, 100)
    with pytest.raises(StopIteration) as stopped:
        operation.send(None)
    assert stopped.value.value == b"abc"


def test_a_receive_waits_for_what_comes(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    for message in (b"first", b"second", b"third"):
        task = waiting(loop, loop.sock_recv(ours, 100))
        theirs.send(message)
        assert run(loop, ended(task)) == message


def test_a_receive_takes_no_more_than_asked(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abcdef")
    assert run(loop, in_turn(loop.sock_recv(ours, 2), loop.sock_recv(ours, 3), loop.sock_recv(ours, 9))) == [
        b"ab",
        b"cde",
        b"f",
    ]


@pytest.mark.parametrize("size", [1, 511, 512, 4096, 65_536, 65_537, 262_144, 262_145, 1_000_000])
def test_bytes_of_any_size_arrive_unchanged(loop: Loop, size: int) -> None:
    content = os.urandom(size)
    ours, theirs = tcp_pair()

    async def main() -> bytes:
        received = bytearray()
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.sock_sendall(theirs, content))
            while len(received) < size:
                received += await loop.sock_recv(ours, size + 1)
        return bytes(received)

    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        assert run(loop, main()) == content


def test_received_bytes_do_not_change_afterwards(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    kept = []
    for number in range(20):
        theirs.send(bytes([number]) * 1000)
        kept.append(run(loop, in_turn(loop.sock_recv(ours, 2000)))[0])
    assert kept == [bytes([number]) * 1000 for number in range(20)]


def test_the_end_of_the_stream_is_empty(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.close()
    assert run(loop, ended(task)) == b""
    assert run(loop, in_turn(loop.sock_recv(ours, 10))) == [b""]


def test_receiving_nothing_asks_nobody(loop: Loop, stream: Pair) -> None:
    assert run(loop, in_turn(loop.sock_recv(stream[0], 0))) == [b""]
    assert run(loop, in_turn(loop.sock_recv_into(stream[0], bytearray()))) == [0]


def test_receiving_into_a_buffer(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(b"........")
    task = waiting(loop, loop.sock_recv_into(ours, memoryview(buffer)[1:4]))
    theirs.send(b"abc")
    assert run(loop, ended(task)) == 3
    assert buffer == b".abc...."


def test_a_waiting_receive_holds_no_export_of_its_buffer(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    buffer = bytearray(4)
    task = waiting(loop, loop.sock_recv_into(ours, buffer))
    buffer.extend(b"xxxx")
    theirs.send(b"abcdef")
    assert run(loop, ended(task)) == 6
    assert buffer == b"abcdefxx"


def test_sending_returns_none_and_sends_everything(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    assert run(loop, in_turn(loop.sock_sendall(ours, b"abc"))) == [None]
    assert theirs.recv(10) == b"abc"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("B")[::1]])
def test_whatever_has_bytes_can_be_sent(loop: Loop, stream: Pair, make: Callable[[bytes], Any]) -> None:
    ours, theirs = stream
    run(loop, in_turn(loop.sock_sendall(ours, make(b"abc"))))
    assert theirs.recv(10) == b"abc"


@ferrio_only
def test_wide_items_are_sent_as_bytes(loop: Loop, stream: Pair) -> None:
    # asyncio compares bytes with items here, and waits for ever.
    ours, theirs = stream
    run(loop, in_turn(loop.sock_sendall(ours, memoryview(b"abcdefgh").cast("I"))))
    assert theirs.recv(10) == b"abcdefgh"


def test_a_send_goes_on_when_there_is_room(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    content = os.urandom(3_000_000)
    task = waiting(loop, loop.sock_sendall(ours, content))
    received = bytearray()

    async def read() -> None:
        while len(received) < len(content):
            received.extend(await loop.sock_recv(theirs, 65536))
        await task

    run(loop, read())
    assert received == content


def test_a_buffer_is_exported_while_it_is_being_sent(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    fill(ours)
    data = bytearray(b"abc")
    task = waiting(loop, loop.sock_sendall(ours, data))
    with pytest.raises(BufferError):
        data.extend(b"x")
    drain(theirs)
    run(loop, ended(task))
    data.extend(b"x")


def test_an_empty_datagram_is_sent(loop: Loop) -> None:
    ours, theirs = udp_pair()
    with ours, theirs:
        ours.setblocking(False)
        run(loop, in_turn(loop.sock_sendall(ours, b"")))
        theirs.settimeout(LIMIT_S)
        assert theirs.recv(10) == b""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_and_their_addresses(loop: Loop, family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as ours, socket.socket(family, socket.SOCK_DGRAM) as theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            try:
                end.bind((host, 0))
            except OSError:
                pytest.skip("no such addresses on this machine")
        task = waiting(loop, loop.sock_recvfrom(ours, 100))
        assert run(loop, in_turn(loop.sock_sendto(theirs, b"abc", ours.getsockname()))) == [3]
        assert run(loop, ended(task)) == (b"abc", theirs.getsockname())
        buffer = bytearray(b".....")
        task = waiting(loop, loop.sock_recvfrom_into(ours, buffer))
        theirs.sendto(b"abc", ours.getsockname())
        assert run(loop, ended(task)) == (3, theirs.getsockname())
        theirs.sendto(b"xyz", ours.getsockname())
        assert run(loop, in_turn(loop.sock_recvfrom_into(ours, buffer, 2))) == [(2, theirs.getsockname())]
        assert buffer == b"xyc.."


def test_unix_datagrams_and_their_addresses(loop: Loop, tmp_path: Any) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(os.fspath(tmp_path / "ours"))
        theirs.bind(b"\0ferrio-test-%d" % os.getpid())
        for end in (ours, theirs):
            end.setblocking(False)
        task = waiting(loop, loop.sock_recvfrom(ours, 100))
        run(loop, in_turn(loop.sock_sendto(theirs, b"abc", ours.getsockname())))
        assert run(loop, ended(task)) == (b"abc", theirs.getsockname())


def test_a_full_datagram_socket_is_waited_for(loop: Loop) -> None:
    ours, theirs = unix_datagrams()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while ours.send(b"x"):
                sent += 1
        task = waiting(loop, loop.sock_sendall(ours, b"last"))
        for _ in range(sent):
            theirs.recv(10)
        run(loop, ended(task))
        assert theirs.recv(10) == b"last"


# --- connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connecting_and_accepting(loop: Loop, host: str) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        await loop.sock_connect(ours, (host, listener.getsockname()[1]))
        theirs, address = await task
        with theirs:
            assert address == ours.getsockname()
            assert theirs.gettimeout() == 0
            await loop.sock_sendall(ours, b"abc")
            assert await loop.sock_recv(theirs, 10) == b"abc"

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
        listener.setblocking(False)
        ours.setblocking(False)
        run(loop, main())


def test_a_refused_connection(loop: Loop) -> None:
    with socket.socket() as bound, socket.socket() as ours:
        bound.bind(("127.0.0.1", 0))
        ours.setblocking(False)
        address = bound.getsockname()
        with pytest.raises(ConnectionRefusedError) as raised:
            run(loop, in_turn(loop.sock_connect(ours, address)))
        assert raised.value.args[1] == f"Connect call failed {address}"
        assert raised.value.__context__ is None


def test_a_unix_socket_that_does_not_exist(loop: Loop, tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as ours:
        ours.setblocking(False)
        with pytest.raises(FileNotFoundError):
            run(loop, in_turn(loop.sock_connect(ours, os.fspath(tmp_path / "nobody"))))


@ferrio_only
def test_a_cancelled_accept_has_accepted_nobody(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        task = waiting(loop, loop.sock_accept(listener))
        with socket.create_connection(listener.getsockname()) as ours:
            # In the turn that finds the connection.
            loop.call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                run(loop, ended(task))
            theirs, address = run(loop, in_turn(loop.sock_accept(listener)))[0]
            with theirs:
                assert address == ours.getsockname()


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_socket_is_a_bad_descriptor(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        run(loop, in_turn(call(loop, sock)))
    assert raised.value.args == (9, "Bad file descriptor")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_blocking_socket_is_refused_in_debug_mode(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    loop.set_debug(True)
    with socket.socket() as sock:
        for timeout in (None, 1.5):
            sock.settimeout(timeout)
            with pytest.raises(ValueError, match=r"^the socket must be non-blocking$"):
                run(loop, in_turn(call(loop, sock)))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_tls_socket_is_refused(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    context = ssl.create_default_context()
    refused = pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$")
    with context.wrap_socket(socket.socket(), server_hostname="localhost") as sock, refused:
        run(loop, in_turn(call(loop, sock)))


@pytest.mark.parametrize("name", ["sock_recv", "sock_recv_into", "sock_sendall"])
def test_a_blocking_socket_blocks(loop: Loop, name: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        if name == "sock_sendall":
            theirs.setblocking(False)
            with pytest.raises(TimeoutError):
                run(loop, in_turn(loop.sock_sendall(ours, b"x" * 10_000_000)))
        else:
            with pytest.raises(TimeoutError):
                run(loop, in_turn(CALLS[name](loop, ours)))


def test_a_transport_and_a_wait_exclude_each_other(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    async def main() -> None:
        ours.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        # What need not wait is not refused, as in asyncio.
        await loop.sock_sendall(ours, b"abc")
        for call in (loop.sock_recv(ours, 10), loop.sock_recv_into(ours, bytearray(10))):
            with pytest.raises(RuntimeError, match=rf"^File descriptor {ours.fileno()} is used by transport <.*>$"):
                await call
        transport.abort()

    with theirs:
        run(loop, main())
        assert theirs.recv(10) == b"abc"
        turn(loop)


@pytest.mark.parametrize(
    ("size", "error"),
    [(-1, ValueError), ("ten", TypeError), (1.5, TypeError), (1 << 80, OverflowError), (None, TypeError)],
)
def test_sizes_that_are_none(loop: Loop, stream: Pair, size: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        run(loop, in_turn(loop.sock_recv(stream[0], size)))
    with pytest.raises(error) as plain:
        stream[0].recv(size)
    assert str(raised.value) == str(plain.value)


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"], memoryview(b"abcdef")[::2]])
def test_data_that_are_none(loop: Loop, stream: Pair, data: Any) -> None:
    with pytest.raises((TypeError, BufferError)) as raised:
        run(loop, in_turn(loop.sock_sendall(stream[0], data)))
    with pytest.raises((TypeError, BufferError)) as plain:
        stream[0].send(data)
    assert (type(raised.value), str(raised.value)) == (type(plain.value), str(plain.value))


@pytest.mark.parametrize("buffer", [b"read-only", "text", None])
def test_buffers_that_cannot_be_written(loop: Loop, stream: Pair, buffer: Any) -> None:
    with pytest.raises(TypeError) as raised:
        run(loop, in_turn(loop.sock_recv_into(stream[0], buffer)))
    with pytest.raises(TypeError) as plain:
        stream[0].recv_into(buffer)
    assert str(raised.value) == str(plain.value)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["sock_recv", "sock_recvfrom_into", "sock_sendall", "sock_sendto"])
def test_wrong_numbers_of_arguments_are_refused_by_the_call(loop: Loop, name: str, arguments: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(\)"):
        getattr(loop, name)(*arguments)


def test_arguments_by_name(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    run(loop, in_turn(loop.sock_sendall(sock=ours, data=b"abc")))
    assert run(loop, in_turn(loop.sock_recv(theirs, n=10))) == [b"abc"]  # type: ignore[call-arg]


def test_a_subclass_with_methods_of_its_own_is_asked(loop: Loop) -> None:
    class Shouting(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    ours, theirs = socket.socketpair()
    with Shouting(fileno=ours.detach()) as shouting, theirs:
        shouting.setblocking(False)
        task = waiting(loop, loop.sock_recv(shouting, 10))
        theirs.send(b"abc")
        assert run(loop, ended(task)) == b"ABC"


def test_a_reset_connection(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours:
        ours.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        with pytest.raises(ConnectionResetError) as raised:
            run(loop, ended(task))
        assert raised.value.args == (104, "Connection reset by peer")
        with pytest.raises(BrokenPipeError):
            run(loop, in_turn(loop.sock_sendall(ours, b"x")))


def test_a_closed_loop_does_not_wait(stream: Pair) -> None:
    loop = new_loop()
    loop.close()
    operation: Any = loop.sock_recv(stream[0], 10)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        operation.send(None)
