"""Addresses that are taken, unknown, refused or malformed, and arguments that do not go together."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .loops_compared import awaiting, same_on_both

Loop = asyncio.AbstractEventLoop
P = asyncio.Protocol
D = asyncio.DatagramProtocol


@contextmanager
def refusing(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[int]:
    """A port that refuses connections: it is bound, so nobody else gets it, but nobody listens."""
    with socket.socket(family) as bound:
        bound.bind((host, 0))
        yield bound.getsockname()[1]


def errors_of(*calls: Callable[[Loop], Awaitable[Any]]) -> Callable[[Loop], Any]:
    """The scenario that makes *calls* one after another and gives what each raises."""

    async def main(loop: Loop) -> list[Any]:
        errors: list[Any] = []
        for call in calls:
            try:
                await call(loop)
            except Exception as error:
                errors.append(error)
            else:
                errors.append("no error")
        return errors

    return awaiting(main)


# --- taken --------------------------------------------------------------------------------------------------


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        outcome = same_on_both(
            errors_of(
                lambda loop: loop.create_server(P, *address),
                lambda loop: loop.create_server(P, *address, reuse_address=False),
                lambda loop: loop.create_server(P, ["127.0.0.1", "127.0.0.2"], address[1]),
                lambda loop: asyncio.start_server(lambda r, w: None, *address),
                lambda loop: loop.create_connection(P, "127.0.0.1", 1, local_addr=address),
            )
        )
    assert [error["type"] for error in outcome.value] == [OSError] * 5


def test_a_taken_datagram_port() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = same_on_both(errors_of(lambda loop: loop.create_datagram_endpoint(D, taken.getsockname())))
    assert outcome.value[0]["errno"] is not None


def test_an_address_of_another_machine() -> None:
    same_on_both(
        errors_of(
            lambda loop: loop.create_server(P, "192.0.2.1", 0),
            lambda loop: loop.create_datagram_endpoint(D, ("192.0.2.1", 0)),
        )
    )


def test_unix_paths_that_cannot_be_served(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    taken = tmp_path / "taken.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(taken))
        listener.listen()
        outcome = same_on_both(
            errors_of(
                lambda loop: loop.create_unix_server(P, str(file)),
                lambda loop: loop.create_unix_server(P, str(tmp_path)),
                lambda loop: loop.create_unix_server(P, str(tmp_path / "no folder" / "x.sock")),
                lambda loop: loop.create_unix_server(P, "x" * 200),
                lambda loop: loop.create_unix_server(P),
                lambda loop: loop.create_unix_server(P, str(taken), sock=listener),
                lambda loop: loop.create_unix_connection(P, str(tmp_path / "nobody.sock")),
                lambda loop: loop.create_unix_connection(P, str(file)),
                lambda loop: loop.create_unix_connection(P),
                lambda loop: loop.create_unix_connection(P, "x" * 200),
                lambda loop: loop.create_unix_connection(P, "nul\0byte"),
            )
        )
    assert "no error" not in outcome.value
    assert file.read_text() == "content"


# --- unknown ------------------------------------------------------------------------------------------------


def test_a_host_that_does_not_resolve() -> None:
    outcome = same_on_both(
        errors_of(
            lambda loop: loop.create_connection(P, "not-a-number", 80, flags=socket.AI_NUMERICHOST),
            lambda loop: loop.create_server(P, "not-a-number", 80, flags=socket.AI_NUMERICHOST),
            lambda loop: loop.getaddrinfo("not-a-number", 80, flags=socket.AI_NUMERICHOST),
            lambda loop: loop.getaddrinfo("127.0.0.1", "no-such-service"),
            lambda loop: loop.getaddrinfo(None, None),
            lambda loop: loop.getaddrinfo("127.0.0.1", 1, family=12345),
            lambda loop: loop.getaddrinfo("127.0.0.1", 1, type=12345),
            lambda loop: loop.getnameinfo(("not-a-number", 80), socket.NI_NUMERICHOST),
        )
    )
    assert [error["type"] for error in outcome.value] == [socket.gaierror] * 8


def test_hosts_and_ports_that_cannot_be_names() -> None:
    same_on_both(
        errors_of(
            *(
                (lambda loop, host=host: loop.create_connection(P, host, 80))
                for host in ("a" * 64 + ".invalid", "nul\0byte", ".", "..", "\udcff", b"\xff.invalid")
            ),
            *(
                (lambda loop, port=port: loop.create_connection(P, "127.0.0.1", port))
                for port in (-1, 70000, "nul\0byte", 2.5, 10**30)
            ),
            *((lambda loop, port=port: loop.create_server(P, "127.0.0.1", port)) for port in (-1, 70000, "text", 1.5)),
            lambda loop: loop.create_connection(P, 3, 80),
            lambda loop: loop.create_server(P, 3, 80),
            lambda loop: loop.create_server(P, ["127.0.0.1", 3], 0),
            lambda loop: loop.getaddrinfo(3, 80),
        )
    )


# --- refused ------------------------------------------------------------------------------------------------


def test_a_refused_connection() -> None:
    with refusing() as port:

        async def connect_a_socket(loop: Loop) -> None:
            with socket.socket() as connection:
                connection.setblocking(False)
                await loop.sock_connect(connection, ("127.0.0.1", port))

        outcome = same_on_both(
            errors_of(
                lambda loop: loop.create_connection(P, "127.0.0.1", port),
                lambda loop: asyncio.open_connection("127.0.0.1", port),
                connect_a_socket,
                lambda loop: loop.create_connection(P, "127.0.0.1", port, happy_eyeballs_delay=0.1),
            )
        )
    assert [error["type"] for error in outcome.value] == [ConnectionRefusedError] * 4


def test_a_connection_refused_on_every_address() -> None:
    with refusing() as port:

        async def connect(loop: Loop, **options: Any) -> None:
            await loop.create_connection(P, "localhost", port, **options)

        calls = [connect, lambda loop: connect(loop, happy_eyeballs_delay=0.1, interleave=1)]
        if sys.version_info >= (3, 12):
            calls.append(lambda loop: connect(loop, all_errors=True))
            calls.append(lambda loop: connect(loop, all_errors=True, happy_eyeballs_delay=0.1))
        outcome = same_on_both(errors_of(*calls))
    if sys.version_info >= (3, 12):
        assert outcome.value[2]["type"] is ExceptionGroup


def test_a_local_address_that_does_not_fit() -> None:
    with refusing() as port:
        same_on_both(
            errors_of(
                lambda loop: loop.create_connection(P, "127.0.0.1", port, local_addr=("::1", 0)),
                lambda loop: loop.create_connection(P, "127.0.0.1", port, local_addr=("192.0.2.1", 0)),
                lambda loop: loop.create_connection(
                    P, "127.0.0.1", port, local_addr=("not-a-number", 0), flags=socket.AI_NUMERICHOST
                ),
            )
        )


# --- arguments that do not go together ----------------------------------------------------------------------


def test_wrong_combinations_of_arguments() -> None:
    with (
        socket.socket() as stream,
        socket.socket(type=socket.SOCK_DGRAM) as datagram,
        socket.socket() as listener,
    ):
        listener.bind(("127.0.0.1", 0))
        for each in (stream, datagram, listener):
            each.setblocking(False)
        outcome = same_on_both(
            errors_of(
                lambda loop: loop.create_connection(P),
                lambda loop: loop.create_connection(P, "127.0.0.1", 1, sock=stream),
                lambda loop: loop.create_connection(P, sock=datagram),
                lambda loop: loop.create_connection(P, "127.0.0.1", 1, server_hostname="x"),
                lambda loop: loop.create_connection(P, sock=stream, ssl=True),
                lambda loop: loop.create_connection(P, "127.0.0.1", 1, ssl_handshake_timeout=1),
                lambda loop: loop.create_connection(P, "127.0.0.1", 1, ssl_shutdown_timeout=1),
                lambda loop: loop.create_server(P),
                lambda loop: loop.create_server(P, "127.0.0.1", 1, sock=listener),
                lambda loop: loop.create_server(P, sock=datagram),
                lambda loop: loop.create_server(P, "127.0.0.1", 0, ssl=True),
                lambda loop: loop.create_server(P, "127.0.0.1", 0, ssl_handshake_timeout=1),
                lambda loop: loop.connect_accepted_socket(P, datagram),
                lambda loop: loop.connect_accepted_socket(P, stream, ssl_handshake_timeout=1),
                lambda loop: loop.create_datagram_endpoint(D),
                lambda loop: loop.create_datagram_endpoint(D, sock=stream),
                lambda loop: loop.create_datagram_endpoint(D, ("127.0.0.1", 0), sock=datagram),
                lambda loop: loop.create_datagram_endpoint(D, ("127.0.0.1", 0), ("::1", 1)),
                lambda loop: loop.create_datagram_endpoint(D, "127.0.0.1"),
                lambda loop: loop.start_tls(None, P(), None),
                lambda loop: loop.sendfile(asyncio.Transport(), open(os.devnull)),  # noqa: SIM115
            )
        )
    assert "no error" not in outcome.value


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_sockets_that_block_or_are_none(debug: bool) -> None:
    def scenario(loop: Loop) -> Any:
        left, right = socket.socketpair()
        closed = socket.socket()
        closed.close()
        with left, right:
            right.send(b"ready")
            return errors_of(
                lambda loop: loop.sock_recv(left, 1),
                lambda loop: loop.sock_recv_into(left, bytearray(1)),
                lambda loop: loop.sock_sendall(left, b"x"),
                lambda loop: loop.sock_recv(closed, 1),
                lambda loop: loop.sock_sendall(closed, b"x"),
                lambda loop: loop.sock_connect(closed, ("127.0.0.1", 1)),
                lambda loop: loop.sock_accept(closed),
                lambda loop: loop.sock_recv(None, 1),
                lambda loop: loop.sock_recv(3, 1),
                lambda loop: loop.sock_recv_into(left, b"read-only"),
                lambda loop: loop.sock_sendall(left, "text"),
                lambda loop: loop.sock_recv(left, -1),
            )(loop)

    if debug:
        assert same_on_both(scenario, debug=True).value[0]["type"] is ValueError
    else:
        same_on_both(scenario)
