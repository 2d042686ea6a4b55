"""``getaddrinfo`` and ``getnameinfo``: numeric addresses without a thread, names in the executor."""

import asyncio
import socket
from typing import Any

import pytest

from .loops import ferrio_only, run

Loop = asyncio.AbstractEventLoop

NUMERIC: list[tuple[Any, Any]] = [
    ("127.0.0.1", 80),
    ("127.0.0.1", "80"),
    ("127.0.0.1", None),
    ("127.0.0.1", b"80"),
    ("127.0.0.1", 0),
    (b"127.0.0.1", 80),
    ("255.255.255.255", 65535),
    ("::1", 80),
    ("::", 80),
    ("::ffff:127.0.0.1", 80),
    ("2001:db8::1", "443"),
    (None, 80),
    (None, "80"),
]


@ferrio_only
@pytest.mark.parametrize(("host", "port"), NUMERIC)
def test_a_numeric_address_is_resolved_without_a_thread(loop: Any, host: Any, port: Any) -> None:
    found = run(loop, loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    assert found == socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    assert loop._default_executor is None


@pytest.mark.parametrize(("host", "port"), NUMERIC)
@pytest.mark.parametrize("family", [0, socket.AF_INET, socket.AF_INET6])
def test_a_numeric_address_gives_what_the_resolver_gives(loop: Loop, host: Any, port: Any, family: int) -> None:
    results = []
    try:
        results.append(socket.getaddrinfo(host, port, family))
    except socket.gaierror as error:
        results.append(error.args)
    try:
        results.append(run(loop, loop.getaddrinfo(host, port, family=family)))
    except socket.gaierror as error:
        results.append(error.args)
    assert results[1] == results[0]


@pytest.mark.parametrize("flags", [0, socket.AI_PASSIVE, socket.AI_NUMERICHOST, socket.AI_CANONNAME])
def test_the_flags_reach_the_resolver(loop: Loop, flags: int) -> None:
    found = run(loop, loop.getaddrinfo("127.0.0.1", 80, flags=flags, type=socket.SOCK_DGRAM))
    assert found == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_DGRAM, flags=flags)


def test_a_scope_is_kept(loop: Any) -> None:
    found = run(loop, loop.getaddrinfo("fe80::1%lo", 80, type=socket.SOCK_STREAM))
    index = socket.if_nametoindex("lo")
    assert [address[3] for *_, address in found] == [index]
    found = run(loop, loop.getaddrinfo(f"fe80::1%{index}", 80, type=socket.SOCK_STREAM))
    assert [address[3] for *_, address in found] == [index]


def test_a_scope_that_does_not_exist_is_an_error(loop: Loop) -> None:
    with pytest.raises(socket.gaierror) as expected:
        socket.getaddrinfo("fe80::1%nosuchdevice", 80)
    with pytest.raises(socket.gaierror) as actual:
        run(loop, loop.getaddrinfo("fe80::1%nosuchdevice", 80))
    assert actual.value.args == expected.value.args


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 80), ("127.0.0.1", "http"), ("", 80), ("127.1", 80), ("0x7f.1", 80)]
)
def test_what_may_need_a_look_up_happens_in_the_executor(loop: Any, host: str, port: Any) -> None:
    results: list[Any] = []
    try:
        results.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        results.append(error.args)
    try:
        results.append(run(loop, loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except socket.gaierror as error:
        results.append(error.args)
    assert results[1] == results[0]
    assert loop._default_executor is not None


def test_a_name_that_does_not_exist_is_a_gaierror(loop: Loop) -> None:
    name = "no-such-host.invalid"
    with pytest.raises(socket.gaierror) as raised:
        run(loop, loop.getaddrinfo(name, 80))
    number, text = raised.value.args
    assert number < 0
    assert isinstance(text, str)


@pytest.mark.parametrize(
    ("host", "port"),
    [("::1", 80), ("127.0.0.1", 10**30), ("127.0.0.1", -1), (1, 80), ("127.0.0.1", 1.5), ("1.2.3.4\0", 80)],
)
def test_errors_are_those_of_the_resolver(loop: Loop, host: Any, port: Any) -> None:
    # An IPv6 address is none of the IPv4 family.
    results = []
    for resolve in (
        lambda: socket.getaddrinfo(host, port, socket.AF_INET),
        lambda: run(loop, loop.getaddrinfo(host, port, family=socket.AF_INET)),
    ):
        try:
            results.append(resolve())
        except Exception as error:
            results.append((type(error), error.args))
    assert results[1] == results[0]


def test_getnameinfo_tells_the_numbers(loop: Loop) -> None:
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert run(loop, loop.getnameinfo(("127.0.0.1", 80), flags)) == ("127.0.0.1", "80")


@ferrio_only
def test_a_connection_to_a_numeric_address_makes_no_thread(loop: Any) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(loop, main())
    assert loop._default_executor is None
