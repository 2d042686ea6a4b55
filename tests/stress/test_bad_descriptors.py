"""Descriptors that are not what they seem: wrong kinds, registered twice, closed by others, used by two."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from .loops_compared import (
    LIMIT_S,
    NAME,
    awaiting,
    new_loop_under_test,
    open_descriptors,
    run_until,
    same_on_both,
    turn,
)

Loop = asyncio.AbstractEventLoop


def nothing(*_: object) -> None:
    pass


def closed_socket() -> socket.socket:
    closed = socket.socket()
    closed.close()
    return closed


def closed_number() -> int:
    number = os.dup(0)
    os.close(number)
    return number


class WithFileno:
    def __init__(self, number: Any) -> None:
        self._number = number

    def fileno(self) -> Any:
        return self._number


class FilenoRaises:
    def fileno(self) -> int:
        raise RuntimeError("no descriptor")


BAD_FILES: dict[str, Callable[[], Any]] = {
    "a negative number": lambda: -1,
    "a very large number": lambda: 10**30,
    "a number nobody opened": lambda: 1_000_000,
    "a closed number": closed_number,
    "text": lambda: "text",
    "None": lambda: None,
    "a float": lambda: 1.5,
    "an object": object,
    "a closed socket": closed_socket,
    "a fileno that is text": lambda: WithFileno("text"),
    "a fileno that is negative": lambda: WithFileno(-5),
    "a fileno that raises": FilenoRaises,
    "a regular file": lambda: tempfile.TemporaryFile(),  # noqa: SIM115
    "a folder": lambda: WithFolder(),
}


class WithFolder:
    """A folder's descriptor, closed with the object."""

    def __init__(self) -> None:
        self._number = os.open("/", os.O_RDONLY)

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        os.close(self._number)


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_a_file_that_cannot_be_watched(kind: str, method: str) -> None:
    def scenario(loop: Loop) -> Any:
        file = BAD_FILES[kind]()
        return getattr(loop, method)(file, *([nothing] if method.startswith("add") else []))

    outcome = same_on_both(scenario)
    assert method.startswith("remove") or outcome.raised is not None


def test_a_descriptor_registered_twice_calls_the_second_callback() -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []
        left, right = socket.socketpair()
        with left, right:
            loop.add_reader(left, seen.append, "first")
            loop.add_reader(left.fileno(), seen.append, "second")
            loop.add_writer(left, seen.append, "writer")
            loop.add_writer(left, lambda: (seen.append("second writer"), loop.remove_writer(left)))
            right.send(b"x")
            turn(loop, 3)
            seen.append([loop.remove_reader(left), loop.remove_reader(left)])
            seen.append([loop.remove_writer(left), loop.remove_writer(left)])
            turn(loop, 2)
        return seen

    value = same_on_both(scenario).value
    assert "second" in value
    assert "first" not in value
    assert "writer" not in value


def test_a_descriptor_of_a_transport_is_refused() -> None:
    async def main(loop: Loop) -> list[Any]:
        left, right = socket.socketpair()
        errors: list[Any] = []
        with right:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
            number = left.fileno()
            for call in (
                lambda: loop.add_reader(number, nothing),
                lambda: loop.add_writer(number, nothing),
                lambda: loop.remove_reader(number),
                lambda: loop.remove_writer(left),
            ):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(error)
            for coroutine in (loop.sock_recv(left, 1), loop.sock_sendall(left, b"x")):
                try:
                    await asyncio.wait_for(coroutine, 1)
                except Exception as error:
                    errors.append(type(error))
            transport.close()
        return errors

    for error in same_on_both(awaiting(main)).value[:4]:
        assert error["args"][0].endswith("is used by transport <transport>")


def test_a_watched_descriptor_that_is_closed_by_others_stays_silent() -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []
        left, right = socket.socketpair()
        number = left.fileno()
        with right:
            loop.add_reader(number, seen.append, "readable")
            left.close()
            right.close()
            turn(loop, 3)
            seen.append([loop.remove_reader(number), loop.remove_reader(number)])
        return seen

    assert same_on_both(scenario).value == [[True, False]]


def test_a_watched_descriptor_closed_in_its_own_callback() -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []
        left, right = socket.socketpair()
        number = left.fileno()

        def close() -> None:
            seen.append("closing")
            left.close()
            seen.append(loop.remove_reader(number))

        with right:
            loop.add_reader(number, close)
            right.send(b"x")
            turn(loop, 3)
        return seen

    assert same_on_both(scenario).value == ["closing", True]


def test_two_ready_descriptors_where_the_first_removes_the_second() -> None:
    def scenario(loop: Loop) -> Any:
        calls: list[int] = []
        pairs = [socket.socketpair() for _ in range(2)]

        def remove_the_other(own: int, other: socket.socket) -> None:
            calls.append(own)
            loop.remove_reader(other)

        (left, _), (right, _) = pairs
        loop.add_reader(left, remove_the_other, 0, right)
        loop.add_reader(right, remove_the_other, 1, left)
        for _, peer in pairs:
            peer.send(b"x")
        turn(loop, 1)
        for pair in pairs:
            for each in pair:
                loop.remove_reader(each)
                each.close()
        return len(calls)

    assert same_on_both(scenario).value == 1


def test_a_reused_number_never_reaches_the_callback_of_its_previous_owner() -> None:
    loop = new_loop_under_test()
    try:
        seen: list[str] = []
        old, old_peer = socket.socketpair()
        number = old.fileno()
        loop.add_reader(number, seen.append, "old")
        old.close()
        turn(loop)
        new, new_peer = socket.socketpair()
        if new.fileno() == number:
            new.detach()
        else:
            os.dup2(new.fileno(), number)
            new.close()
        with new_peer, old_peer:
            loop.add_reader(number, seen.append, "new")
            new_peer.send(b"x")
            if NAME == "asyncio":
                # It takes the new file for the one that the kernel forgot, and never hears of it.
                turn(loop, 3)
                assert seen == []
            else:
                assert run_until(loop, lambda: seen)
                assert set(seen) == {"new"}
            loop.remove_reader(number)
            os.close(number)
    finally:
        loop.close()


def test_a_connection_whose_descriptor_is_closed_by_others() -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []

        class Protocol(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                seen.append(data)

            def connection_lost(self, error: Exception | None) -> None:
                seen.append(("lost", error))

        left, right = socket.socketpair()
        with right:
            transport, _ = loop.run_until_complete(loop.create_connection(Protocol, sock=left))
            left.close()
            turn(loop, 3)
            transport.write(b"into the void")
            run_until(loop, lambda: seen)
        transport.abort()
        turn(loop, 3)
        return seen

    assert same_on_both(scenario).value[-1][0] == "lost"


def test_a_listener_whose_socket_is_closed_by_others_can_still_be_closed() -> None:
    loop = new_loop_under_test()

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(asyncio.Protocol, sock=listener)
        listener.close()
        await asyncio.sleep(0)
        try:
            server.close()
        except ValueError:
            assert NAME == "asyncio"
            return
        await asyncio.wait_for(server.wait_closed(), LIMIT_S)
        assert not server.is_serving()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_socket_closed_while_watched_can_still_be_removed() -> None:
    def scenario(loop: Loop) -> list[bool]:
        left, right = socket.socketpair()
        loop.add_reader(left, nothing)
        left.close()
        right.close()
        turn(loop)
        return [loop.remove_reader(left)]

    assert same_on_both(scenario).value == [True]


def test_a_closed_loop_keeps_no_descriptor_while_it_is_referred_to() -> None:
    before = open_descriptors()
    loop = new_loop_under_test()
    turn(loop)
    assert open_descriptors() > before
    loop.close()
    assert open_descriptors() == before


def test_a_pipe_over_a_file_that_is_none() -> None:
    async def main(loop: Loop) -> list[Any]:
        errors: list[Any] = []
        with tempfile.TemporaryFile() as regular:
            for connect, protocol in (
                (loop.connect_read_pipe, asyncio.Protocol),
                (loop.connect_write_pipe, asyncio.BaseProtocol),
            ):
                try:
                    await connect(protocol, regular)
                except ValueError as error:
                    errors.append(error)
        return errors

    assert len(same_on_both(awaiting(main)).value) == 2


def test_a_read_pipe_closed_twice_closes_no_one_elses_descriptor() -> None:
    async def main(loop: Loop) -> list[Any]:
        reader, writer = os.pipe()
        pipe = os.fdopen(reader, "rb", 0)
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, pipe)
        transport.close()
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # The number is free now and is given to someone else.
        other = os.open(os.devnull, os.O_RDONLY)
        transport.close()
        pipe.close()
        await asyncio.sleep(0)
        os.fstat(other)
        same_number = other == reader
        os.close(other)
        os.close(writer)
        return [same_number, transport.is_closing()]

    assert same_on_both(awaiting(main)).value == [True, True]
