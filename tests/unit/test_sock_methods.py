"""``sock_recv`` and its relatives: results, errors, the awaitable itself, cancelling, sharing a number with others."""

import asyncio
import contextlib
import gc
import inspect
import os
import socket
import ssl
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from .connections import tcp_pair
from .loops import LIMIT_S, ferrio_only, new_loop, run, run_until, turn

Loop = asyncio.AbstractEventLoop
Pair = tuple[socket.socket, socket.socket]


def unix_datagrams() -> Pair:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def unix_packets() -> Pair:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def udp_pair() -> Pair:
    ours, theirs = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for end in (ours, theirs):
        end.bind(("127.0.0.1", 0))
    ours.connect(theirs.getsockname())
    theirs.connect(ours.getsockname())
    return ours, theirs


KINDS: dict[str, Callable[[], Pair]] = {
    "tcp": tcp_pair,
    "unix stream": socket.socketpair,
    "unix datagram": unix_datagrams,
    "unix packets": unix_packets,
    "udp": udp_pair,
}


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets of each kind."""
    ends = KINDS[request.param]()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def stream() -> Iterator[Pair]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def fill(sock: socket.socket) -> int:
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 65536)
    except BlockingIOError:
        return sent


def drain(sock: socket.socket) -> int:
    taken = 0
    try:
        while data := sock.recv(65536):
            taken += len(data)
    except BlockingIOError:
        pass
    return taken


def waiting(loop: Loop, awaitable: Any) -> asyncio.Task[Any]:
    """A task that has begun to wait."""
    task = loop.create_task(awaitable)
    turn(loop, 2)
    assert not task.done()
    return task


# --- results ------------------------------------------------------------------------------------------------


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
        assert run(loop, _ended(task)) == message


async def _ended(task: asyncio.Task[Any]) -> Any:
    return await task


def test_a_receive_takes_no_more_than_asked(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abcdef")
    assert run(loop, _all(loop.sock_recv(ours, 2), loop.sock_recv(ours, 3), loop.sock_recv(ours, 9))) == [
        b"ab",
        b"cde",
        b"f",
    ]


async def _all(*awaitables: Awaitable[Any]) -> list[Any]:
    return [await each for each in awaitables]


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
        kept.append(run(loop, _all(loop.sock_recv(ours, 2000)))[0])
    assert kept == [bytes([number]) * 1000 for number in range(20)]


def test_the_end_of_the_stream_is_empty(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.close()
    assert run(loop, _ended(task)) == b""
    assert run(loop, _all(loop.sock_recv(ours, 10))) == [b""]


def test_receiving_nothing_asks_nobody(loop: Loop, stream: Pair) -> None:
    assert run(loop, _all(loop.sock_recv(stream[0], 0))) == [b""]
    assert run(loop, _all(loop.sock_recv_into(stream[0], bytearray()))) == [0]


def test_receiving_into_a_buffer(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(b"........")
    task = waiting(loop, loop.sock_recv_into(ours, memoryview(buffer)[1:4]))
    theirs.send(b"abc")
    assert run(loop, _ended(task)) == 3
    assert buffer == b".abc...."


def test_a_waiting_receive_holds_no_export_of_its_buffer(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    buffer = bytearray(4)
    task = waiting(loop, loop.sock_recv_into(ours, buffer))
    buffer.extend(b"xxxx")
    theirs.send(b"abcdef")
    assert run(loop, _ended(task)) == 6
    assert buffer == b"abcdefxx"


def test_sending_returns_none_and_sends_everything(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    assert run(loop, _all(loop.sock_sendall(ours, b"abc"))) == [None]
    assert theirs.recv(10) == b"abc"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("B")[::1]])
def test_whatever_has_bytes_can_be_sent(loop: Loop, stream: Pair, make: Callable[[bytes], Any]) -> None:
    ours, theirs = stream
    run(loop, _all(loop.sock_sendall(ours, make(b"abc"))))
    assert theirs.recv(10) == b"abc"


@ferrio_only
def test_wide_items_are_sent_as_bytes(loop: Loop, stream: Pair) -> None:
    # asyncio compares bytes with items here, and waits for ever.
    ours, theirs = stream
    run(loop, _all(loop.sock_sendall(ours, memoryview(b"abcdefgh").cast("I"))))
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
    run(loop, _ended(task))
    data.extend(b"x")


def test_an_empty_datagram_is_sent(loop: Loop) -> None:
    ours, theirs = udp_pair()
    with ours, theirs:
        ours.setblocking(False)
        run(loop, _all(loop.sock_sendall(ours, b"")))
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
        assert run(loop, _all(loop.sock_sendto(theirs, b"abc", ours.getsockname()))) == [3]
        assert run(loop, _ended(task)) == (b"abc", theirs.getsockname())
        buffer = bytearray(b".....")
        task = waiting(loop, loop.sock_recvfrom_into(ours, buffer))
        theirs.sendto(b"abc", ours.getsockname())
        assert run(loop, _ended(task)) == (3, theirs.getsockname())
        theirs.sendto(b"xyz", ours.getsockname())
        assert run(loop, _all(loop.sock_recvfrom_into(ours, buffer, 2))) == [(2, theirs.getsockname())]
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
        run(loop, _all(loop.sock_sendto(theirs, b"abc", ours.getsockname())))
        assert run(loop, _ended(task)) == (b"abc", theirs.getsockname())


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
        run(loop, _ended(task))
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
            run(loop, _all(loop.sock_connect(ours, address)))
        assert raised.value.args[1] == f"Connect call failed {address}"
        assert raised.value.__context__ is None


def test_a_unix_socket_that_does_not_exist(loop: Loop, tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as ours:
        ours.setblocking(False)
        with pytest.raises(FileNotFoundError):
            run(loop, _all(loop.sock_connect(ours, os.fspath(tmp_path / "nobody"))))


@ferrio_only
def test_a_cancelled_accept_has_accepted_nobody(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        task = waiting(loop, loop.sock_accept(listener))
        with socket.create_connection(listener.getsockname()) as ours:
            # In the turn that finds the connection.
            loop.call_soon(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                run(loop, _ended(task))
            theirs, address = run(loop, _all(loop.sock_accept(listener)))[0]
            with theirs:
                assert address == ours.getsockname()


# --- errors -------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 10),
    "sock_recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"abc"),
    "sock_sendto": lambda loop, sock: loop.sock_sendto(sock, b"abc", ("127.0.0.1", 9)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
    "sock_connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 9)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_socket_is_a_bad_descriptor(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        run(loop, _all(call(loop, sock)))
    assert raised.value.args == (9, "Bad file descriptor")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_blocking_socket_is_refused_in_debug_mode(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    loop.set_debug(True)
    with socket.socket() as sock:
        for timeout in (None, 1.5):
            sock.settimeout(timeout)
            with pytest.raises(ValueError, match=r"^the socket must be non-blocking$"):
                run(loop, _all(call(loop, sock)))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_tls_socket_is_refused(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    context = ssl.create_default_context()
    refused = pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$")
    with context.wrap_socket(socket.socket(), server_hostname="localhost") as sock, refused:
        run(loop, _all(call(loop, sock)))


@pytest.mark.parametrize("name", ["sock_recv", "sock_recv_into", "sock_sendall"])
def test_a_blocking_socket_blocks(loop: Loop, name: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        if name == "sock_sendall":
            theirs.setblocking(False)
            with pytest.raises(TimeoutError):
                run(loop, _all(loop.sock_sendall(ours, b"x" * 10_000_000)))
        else:
            with pytest.raises(TimeoutError):
                run(loop, _all(CALLS[name](loop, ours)))


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
        run(loop, _all(loop.sock_recv(stream[0], size)))
    with pytest.raises(error) as plain:
        stream[0].recv(size)
    assert str(raised.value) == str(plain.value)


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"], memoryview(b"abcdef")[::2]])
def test_data_that_are_none(loop: Loop, stream: Pair, data: Any) -> None:
    with pytest.raises((TypeError, BufferError)) as raised:
        run(loop, _all(loop.sock_sendall(stream[0], data)))
    with pytest.raises((TypeError, BufferError)) as plain:
        stream[0].send(data)
    assert (type(raised.value), str(raised.value)) == (type(plain.value), str(plain.value))


@pytest.mark.parametrize("buffer", [b"read-only", "text", None])
def test_buffers_that_cannot_be_written(loop: Loop, stream: Pair, buffer: Any) -> None:
    with pytest.raises(TypeError) as raised:
        run(loop, _all(loop.sock_recv_into(stream[0], buffer)))
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
    run(loop, _all(loop.sock_sendall(sock=ours, data=b"abc")))
    assert run(loop, _all(loop.sock_recv(theirs, n=10))) == [b"abc"]  # type: ignore[call-arg]


def test_a_subclass_with_methods_of_its_own_is_asked(loop: Loop) -> None:
    class Shouting(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    ours, theirs = socket.socketpair()
    with Shouting(fileno=ours.detach()) as shouting, theirs:
        shouting.setblocking(False)
        task = waiting(loop, loop.sock_recv(shouting, 10))
        theirs.send(b"abc")
        assert run(loop, _ended(task)) == b"ABC"


def test_a_reset_connection(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours:
        ours.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        with pytest.raises(ConnectionResetError) as raised:
            run(loop, _ended(task))
        assert raised.value.args == (104, "Connection reset by peer")
        with pytest.raises(BrokenPipeError):
            run(loop, _all(loop.sock_sendall(ours, b"x")))


def test_a_closed_loop_does_not_wait(stream: Pair) -> None:
    loop = new_loop()
    loop.close()
    operation: Any = loop.sock_recv(stream[0], 10)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        operation.send(None)


# --- the awaitable ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_a_coroutine_to_asyncio(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    with socket.socket() as sock:
        operation = call(loop, sock)
        assert asyncio.iscoroutine(operation)
        assert inspect.isawaitable(operation)
        assert not asyncio.isfuture(operation)
        operation.close()


def test_nothing_happens_before_it_is_awaited(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abc")
    late = loop.sock_recv(ours, 10)
    sent = loop.sock_sendall(ours, b"x")
    turn(loop)
    assert ours.recv(10) == b"abc"
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    late.close()  # type: ignore[attr-defined]
    sent.close()  # type: ignore[attr-defined]


def test_an_operation_that_nobody_awaits_is_reported(loop: Loop, stream: Pair) -> None:
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'BaseSelectorEventLoop.sock_recv' was never awaited"):
        loop.sock_recv(stream[0], 10)
        gc.collect()


def test_every_way_to_await(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        for wait in (
            lambda each: each,
            asyncio.create_task,
            asyncio.ensure_future,
            asyncio.gather,
            lambda each: asyncio.wait_for(each, LIMIT_S),
            lambda each: asyncio.shield(each),
        ):
            loop.call_soon(theirs.send, b"abc")
            got = await wait(loop.sock_recv(ours, 10))
            assert got in (b"abc", [b"abc"])
        loop.call_soon(theirs.send, b"abc")
        done, _ = await asyncio.wait([asyncio.create_task(loop.sock_recv(ours, 10))])
        assert done.pop().result() == b"abc"

    run(loop, main())


def test_python_tasks_can_wait_for_it(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))  # type: ignore[attr-defined, arg-type]
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert loop.run_until_complete(task) == b"abc"
    task = waiting(loop, loop.sock_recv(ours, 10))
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        loop.run_until_complete(task)


def test_it_cannot_be_awaited_twice(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abc")
    operation = loop.sock_recv(ours, 10)
    assert run(loop, _all(operation)) == [b"abc"]
    with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
        run(loop, _all(operation))


def test_it_cannot_be_awaited_by_two(loop: Loop, stream: Pair) -> None:
    operation: Any = loop.sock_recv(stream[0], 10)
    operation.send(None)
    with pytest.raises(RuntimeError, match=r"^coroutine is being awaited already$"):
        run(loop, _all(operation))
    operation.close()


def test_a_first_value_must_be_none(loop: Loop, stream: Pair) -> None:
    operation: Any = loop.sock_recv(stream[0], 10)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        operation.send(1)
    operation.close()


@ferrio_only
def test_an_exception_thrown_in_ends_it(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    for begin in (False, True):
        operation: Any = loop.sock_recv(ours, 10)
        if begin:
            operation.send(None)
        with pytest.raises(KeyError, match="thrown"):
            operation.throw(KeyError("thrown"))
        with pytest.raises(RuntimeError, match="cannot reuse"):
            operation.send(None)
    theirs.send(b"abc")
    turn(loop, 2)
    assert ours.recv(10) == b"abc"


@ferrio_only
def test_a_closed_operation_leaves_no_registration(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    operation: Any = loop.sock_recv(ours, 10)
    operation.send(None)
    operation.close()
    operation.close()
    theirs.send(b"abc")
    turn(loop, 2)
    assert run(loop, _all(loop.sock_recv(ours, 10))) == [b"abc"]


def test_a_result_that_is_a_tuple_arrives_as_one(loop: Loop) -> None:
    ours, theirs = udp_pair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"abc")
        operation: Any = loop.sock_recvfrom(ours, 10)
        with pytest.raises(StopIteration) as stopped:
            operation.send(None)
        assert stopped.value.value == (b"abc", theirs.getsockname())


def test_its_name_is_that_of_the_method(loop: Loop, stream: Pair) -> None:
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    coroutine: Any = task.get_coro()
    assert coroutine.__name__ == "sock_recv"
    assert coroutine.__qualname__ == "BaseSelectorEventLoop.sock_recv"
    assert coroutine.cr_running is False
    assert "coro=<BaseSelectorEventLoop.sock_recv()" in repr(task)
    task.cancel()
    turn(loop, 2)


# --- cancelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(4))
def test_a_cancelled_receive_loses_no_byte(loop: Loop, pair: Pair, turns: int) -> None:
    ours, theirs = pair
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    turn(loop, turns)
    if task.done():
        assert task.result() == b"abc"
        return
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        run(loop, _ended(task))
    if _is_ferrio(loop):
        assert run(loop, _all(loop.sock_recv(ours, 10))) == [b"abc"]


def _is_ferrio(loop: Loop) -> bool:
    # asyncio has received before it hears of the cancellation, and then the bytes are lost.
    return type(loop).__module__.startswith("ferrio")


def test_the_words_of_a_cancellation_arrive(loop: Loop, stream: Pair) -> None:
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as raised:
        run(loop, _ended(task))
    assert raised.value.args == ("enough",)


def test_a_limit_that_passes_ends_the_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await loop.sock_recv(ours, 10)
        await loop.sock_sendall(theirs, b"abc")
        assert await loop.sock_recv(ours, 10) == b"abc"

    run(loop, main())


def test_a_cancelled_wait_lets_the_number_go(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    task.cancel()
    turn(loop, 2)
    assert not loop.remove_reader(ours)
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    assert loop.remove_reader(ours)


# --- one number, several users ------------------------------------------------------------------------------


def test_reading_and_writing_wait_side_by_side(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    filled = fill(ours)
    reading = waiting(loop, loop.sock_recv(ours, 10))
    writing = waiting(loop, loop.sock_sendall(ours, b"end"))
    theirs.send(b"abc")
    assert run(loop, _ended(reading)) == b"abc"
    assert not writing.done()
    assert drain(theirs) == filled
    run(loop, _ended(writing))
    assert theirs.recv(10) == b"end"


def test_a_second_wait_takes_the_place_of_the_first(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    first = waiting(loop, loop.sock_recv(ours, 10))
    second = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert run(loop, _ended(second)) == b"abc"
    theirs.send(b"def")
    turn(loop, 3)
    assert not first.done()
    first.cancel()
    turn(loop, 2)
    assert ours.recv(10) == b"def"


def test_a_reader_takes_the_place_of_a_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    assert not task.done()
    task.cancel()
    turn(loop, 2)
    theirs.send(b"def")
    run_until(loop, lambda: len(got) == 2)
    assert loop.remove_reader(ours)


def test_a_wait_takes_the_place_of_a_reader(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    loop.add_reader(ours, pytest.fail, "the reader was replaced")
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert run(loop, _ended(task)) == b"abc"
    turn(loop)
    assert not loop.remove_reader(ours)


def test_a_removed_reader_was_the_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)
    theirs.send(b"abc")
    turn(loop, 3)
    assert not task.done()
    task.cancel()
    turn(loop, 2)
    assert ours.recv(10) == b"abc"


def test_a_writer_beside_a_waiting_receive(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    calls: list[int] = []
    loop.add_writer(ours, calls.append, 1)
    turn(loop, 2)
    assert calls
    theirs.send(b"abc")
    assert run(loop, _ended(task)) == b"abc"
    assert loop.remove_writer(ours)
    theirs.send(b"def")
    assert run(loop, _all(loop.sock_recv(ours, 10))) == [b"def"]


def test_a_send_that_waits_beside_a_reader(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    fill(ours)
    task = waiting(loop, loop.sock_sendall(ours, b"end"))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    drain(theirs)
    run(loop, _ended(task))
    assert loop.remove_reader(ours)
    assert not loop.remove_writer(ours)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_wait_behind_a_reader_that_is_cancelled(loop: Loop, stream: Pair, cancelled: bool) -> None:
    ours, theirs = stream
    loop.add_writer(ours, lambda: None)
    task = waiting(loop, loop.sock_recv(ours, 10))
    if cancelled:
        task.cancel()
        turn(loop, 2)
        assert task.cancelled()
        assert not loop.remove_reader(ours)
    else:
        assert loop.remove_reader(ours)
        task.cancel()
        turn(loop, 2)
    theirs.send(b"abc")
    turn(loop, 2)
    assert ours.recv(10) == b"abc"
    assert loop.remove_writer(ours)


def test_a_socket_that_has_waited_becomes_a_transports(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    async def main() -> None:
        for end in (ours, theirs):
            end.setblocking(False)
        loop.call_soon(theirs.send, b"abc")
        assert await loop.sock_recv(ours, 10) == b"abc"
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.send(b"def")
        assert await reader.read(10) == b"def"
        writer.close()
        await writer.wait_closed()

    with theirs:
        run(loop, main())


# --- numbers that change hands ------------------------------------------------------------------------------


def reopened(number: int, sock: socket.socket) -> socket.socket:
    """*sock* under *number*, which is free, and under no other."""
    if sock.fileno() == number:
        return sock
    os.dup2(sock.fileno(), number)
    sock.close()
    return socket.socket(fileno=number)


def test_a_closed_number_is_another_sockets_at_once(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    for _ in range(5):
        ours.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, _ended(task)) == b"abc"
        number = ours.fileno()
        ours.close()
        theirs.close()
        ours, theirs = socket.socketpair()
        ours = reopened(number, ours)
        assert ours.fileno() == number
    ours.close()
    theirs.close()


@ferrio_only
def test_a_wait_on_a_closed_socket_never_takes_from_the_next_one(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stale = waiting(loop, loop.sock_recv(ours, 10))
    number = ours.fileno()
    ours.close()
    theirs.close()
    mine, other = socket.socketpair()
    with other, reopened(number, mine) as mine:
        mine.setblocking(False)
        task = waiting(loop, loop.sock_recv(mine, 10))
        other.send(b"abc")
        assert run(loop, _ended(task)) == b"abc"
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(loop, _ended(stale))


@ferrio_only
def test_a_number_closed_behind_a_sockets_back_is_not_read(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stale = waiting(loop, loop.sock_recv(ours, 10))
    number = ours.fileno()
    os.close(number)
    theirs.close()
    mine, other = socket.socketpair()
    with other, reopened(number, mine) as mine:
        mine.setblocking(False)
        task = waiting(loop, loop.sock_recv(mine, 10))
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(loop, _ended(stale))
        # `ours` still believes that the number is its own.
        assert ours.fileno() == number
        other.send(b"abc")
        for call in (loop.sock_recv(ours, 10), loop.sock_sendall(ours, b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                run(loop, _all(call))
        assert run(loop, _ended(task)) == b"abc"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        ours.detach()


@pytest.mark.parametrize("begin", [False, True])
def test_a_file_put_under_the_number_of_a_socket_is_heard_of(loop: Loop, begin: bool) -> None:
    ours, theirs = socket.socketpair()
    mine, other = socket.socketpair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, _ended(task)) == b"abc"
        os.dup2(mine.fileno(), ours.fileno())
        task = loop.create_task(loop.sock_recv(ours, 10))  # type: ignore[arg-type]
        if begin:
            turn(loop, 2)
        other.send(b"def")
        assert run(loop, _ended(task)) == b"def"


@ferrio_only
def test_a_number_given_away_between_two_receives_of_one_step_ends_the_second(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    mine, other = tcp_pair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)

        async def main() -> None:
            assert await loop.sock_recv(ours, 10) == b"abc"
            os.dup2(mine.fileno(), ours.fileno())
            with pytest.raises(OSError, match="Bad file descriptor"):
                await loop.sock_recv(ours, 10)
            # What begins after that is about the file that has the number now.
            other.send(b"def")
            assert await loop.sock_recv(ours, 10) == b"def"

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, _ended(task))


@ferrio_only
def test_a_receive_after_a_short_one_asks_in_the_next_turn(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        seen: list[Any] = []

        async def main() -> None:
            seen.append(await loop.sock_recv(ours, 10))
            theirs.send(b"def")
            loop.call_soon(seen.append, "a turn")
            seen.append(await loop.sock_recv(ours, 10))

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, _ended(task))
        assert seen == [b"abc", "a turn", b"def"]


def test_a_receive_after_a_full_one_finds_the_rest_at_once(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        seen: list[Any] = []

        async def main() -> None:
            for _ in range(2):
                seen.append(await loop.sock_recv(ours, 3))
                loop.call_soon(seen.append, "a turn")

        task = waiting(loop, main())
        theirs.send(b"abcdef")
        run(loop, _ended(task))
        turn(loop, 1)
        assert seen == [b"abc", b"def", "a turn", "a turn"]


@ferrio_only
def test_a_busy_loop_confirms_its_waits(loop: Loop) -> None:
    ours, theirs = tcp_pair()
    mine, other = tcp_pair()
    with ours, theirs, mine, other:
        for end in (ours, mine):
            end.setblocking(False)

        async def main() -> None:
            assert await loop.sock_recv(ours, 10) == b"abc"
            os.dup2(mine.fileno(), ours.fileno())
            await loop.sock_recv(ours, 10)

        async def spin() -> None:
            while not task.done():
                await asyncio.sleep(0)

        task = waiting(loop, main())
        theirs.send(b"abc")
        run(loop, spin())
        assert isinstance(task.exception(), OSError)


def test_a_detached_number_goes_on_under_another_object(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, _ended(task)) == b"abc"
        with socket.socket(fileno=ours.detach()) as again:
            task = waiting(loop, loop.sock_recv(again, 10))
            theirs.send(b"def")
            assert run(loop, _ended(task)) == b"def"


def test_two_objects_with_one_number_wait_in_both_directions(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    with theirs, ours:
        alias = socket.socket(fileno=ours.fileno())
        filled = fill(ours)
        reading = waiting(loop, loop.sock_recv(ours, 10))
        writing = waiting(loop, loop.sock_sendall(alias, b"end"))
        theirs.send(b"abc")
        assert run(loop, _ended(reading)) == b"abc"
        assert drain(theirs) == filled
        run(loop, _ended(writing))
        alias.detach()


def test_the_loop_keeps_no_socket_alive(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        task = waiting(loop, loop.sock_recv(ours, 10))
        theirs.send(b"abc")
        assert run(loop, _ended(task)) == b"abc"
        seen = weakref.ref(ours)
        del task
        turn(loop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del ours
            gc.collect()
        assert seen() is None
        with pytest.raises(BrokenPipeError):
            theirs.send(b"x")


def test_a_forgotten_loop_with_a_waiting_task_is_collected(stream: Pair) -> None:
    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    seen = weakref.ref(loop)
    loop.close()
    del loop, task
    gc.collect()
    assert seen() is None
