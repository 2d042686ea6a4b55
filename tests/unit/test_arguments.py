"""The effect of each argument of the loop's methods, as far as no other file tests it."""

import asyncio
import contextlib
import io
import os
import re
import socket
import ssl
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from frameworks.certificates import Certificates

from .connections import Recorder
from .loops import run, run_until, turn

Loop = asyncio.AbstractEventLoop

LOCALHOST = "127.0.0.1"
#: Seconds: so short that a test ends by it, where asyncio's own is 30 or 60.
SHORT_S = 0.02


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOCALHOST, 0)) as sock:
        yield sock


@pytest.fixture
def path() -> Iterator[str]:
    """The path of a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="ferrio-") as folder:
        yield str(Path(folder) / "socket")


def end(loop: Loop, *transports: Any) -> None:
    """Abort connections and wait until they have ended."""
    for transport in transports:
        transport.abort()
    turn(loop, 4)


def closed_port() -> int:
    with socket.create_server((LOCALHOST, 0)) as sock:
        return int(sock.getsockname()[1])


# --- connecting -------------------------------------------------------------------------------------------------


def test_host_and_port_say_where_to_and_local_addr_where_from(loop: Loop, listener: socket.socket) -> None:
    host, port = listener.getsockname()
    local = (LOCALHOST, closed_port())
    transport, _ = run(loop, loop.create_connection(Recorder, host, port, local_addr=local))
    accepted, peer = listener.accept()
    with accepted:
        assert peer == transport.get_extra_info("sockname") == local
        assert transport.get_extra_info("peername") == (host, port)
    end(loop, transport)


def test_family_proto_and_flags_of_a_connection_reach_the_resolver(
    loop: Loop, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    resolve = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: int) -> Any:
        asked.append(options)
        return await resolve(host, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    port = listener.getsockname()[1]
    options: dict[str, Any] = {"family": socket.AF_INET, "proto": socket.IPPROTO_TCP, "flags": socket.AI_ADDRCONFIG}
    transport, _ = run(loop, loop.create_connection(Recorder, "localhost", port, **options))
    assert asked == [{**options, "type": socket.SOCK_STREAM}]
    assert transport.get_extra_info("socket").family == socket.AF_INET
    end(loop, transport)
    with pytest.raises(socket.gaierror):
        run(loop, loop.create_connection(Recorder, "localhost", port, flags=socket.AI_NUMERICHOST))


@pytest.fixture
def resolves_to(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the loop's resolver return the given addresses."""

    def set_addresses(*addresses: tuple[str, int]) -> None:
        async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
            return [
                (socket.AF_INET6 if ":" in where else socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, number))
                for where, number in addresses
            ]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)

    return set_addresses


def test_happy_eyeballs_delay_goes_on_to_the_next_address_when_the_first_is_slow(
    loop: Loop, listener: socket.socket, resolves_to: Callable[..., None]
) -> None:
    with socket.create_server((LOCALHOST, 0), backlog=0) as slow, contextlib.ExitStack() as stack:
        # A listener whose queue is full does not answer.
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(slow.getsockname())
        resolves_to(slow.getsockname(), listener.getsockname())
        connecting = loop.create_connection(Recorder, "somewhere", 1, happy_eyeballs_delay=SHORT_S)
        transport, _ = run(loop, connecting)
        assert transport.get_extra_info("peername") == listener.getsockname()
        end(loop, transport)


@pytest.mark.parametrize(("interleave", "order"), [(0, [1, 2, 3, 4]), (1, [1, 3, 2, 4]), (2, [1, 2, 3, 4])])
def test_interleave_mixes_the_families_in_the_order_of_trying(
    loop: Loop, resolves_to: Callable[..., None], interleave: int, order: list[int]
) -> None:
    # Nobody listens on ports that low.
    resolves_to((LOCALHOST, 1), (LOCALHOST, 2), ("::1", 3), ("::1", 4))
    with pytest.raises(OSError, match="Multiple exceptions") as raised:
        run(loop, loop.create_connection(Recorder, "somewhere", 1, interleave=interleave))
    assert [int(port) for port in re.findall(r"', (\d)", str(raised.value))] == order


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors came with 3.12")
def test_all_errors_raises_every_error_of_the_connecting(loop: Loop, resolves_to: Callable[..., None]) -> None:
    resolves_to((LOCALHOST, 1), (LOCALHOST, 2))
    with pytest.raises(ExceptionGroup) as raised:
        run(loop, loop.create_connection(Recorder, "somewhere", 1, all_errors=True))
    assert [type(error) for error in raised.value.exceptions] == [ConnectionRefusedError] * 2


# --- TLS, in each way to it -------------------------------------------------------------------------------------


class Pair:
    """A TLS connection with both ends on the loop; ``near`` is the end that was made with the arguments."""

    def __init__(self, near: Any, far: Any) -> None:
        self.near, self.far = near, far


Way = Callable[..., Awaitable[Pair]]


@pytest.fixture(
    params=[
        "create_connection",
        "create_unix_connection",
        "create_server",
        "create_unix_server",
        "connect_accepted_socket",
        "start_tls",
    ]
)
def tls_way(request: pytest.FixtureRequest, loop: Loop, certificates: Certificates, path: str) -> Way:
    """Connects over TLS with arguments for the method that the test is about."""
    method = request.param
    server_tls, client_tls = certificates.server_context(), certificates.client_context()

    async def connect(**arguments: Any) -> Pair:
        made = asyncio.get_running_loop().create_future()

        class Server(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                made.set_result(self)

        async def accepted() -> Recorder:
            return await made  # type: ignore[no-any-return]

        named = {"ssl": client_tls, "server_hostname": "localhost"}
        if method in {"connect_accepted_socket", "start_tls"}:
            ours, theirs = socket.socketpair()
            connecting = asyncio.create_task(loop.create_connection(Recorder, sock=theirs, **named))
            if method == "connect_accepted_socket":
                await loop.connect_accepted_socket(Server, ours, ssl=server_tls, **arguments)
                near = await accepted()
            else:
                transport, near = await loop.create_connection(Recorder, sock=ours)
                near.transport = await loop.start_tls(transport, near, server_tls, server_side=True, **arguments)
            return Pair(near, (await connecting)[1])
        theirs_too = arguments if method.endswith("server") else {}
        ours_too = arguments if method.endswith("connection") else {}
        if "unix" in method:
            server = await loop.create_unix_server(Server, path, ssl=server_tls, **theirs_too)
            _, client = await loop.create_unix_connection(Recorder, path, **named, **ours_too)
        else:
            server = await loop.create_server(Server, LOCALHOST, 0, ssl=server_tls, **theirs_too)
            port = server.sockets[0].getsockname()[1]
            _, client = await loop.create_connection(Recorder, LOCALHOST, port, **named, **ours_too)
        other = await accepted()
        server.close()
        return Pair(client, other) if method.endswith("connection") else Pair(other, client)

    return connect


def test_ssl_encrypts_and_server_hostname_is_checked(loop: Loop, tls_way: Way) -> None:
    pair = run(loop, tls_way())
    for one, other in [(pair.near, pair.far), (pair.far, pair.near)]:
        assert one.transport.get_extra_info("cipher")
        assert isinstance(one.transport.get_extra_info("ssl_object"), ssl.SSLObject)
        one.transport.write(b"over TLS")
        run_until(loop, lambda: other.received == b"over TLS")
    pair.near.transport.close()
    run_until(loop, lambda: pair.near.is_lost and pair.far.is_lost)


def test_ssl_shutdown_timeout_ends_a_connection_whose_peer_does_not_say_goodbye(loop: Loop, tls_way: Way) -> None:
    pair = run(loop, tls_way(ssl_shutdown_timeout=SHORT_S))
    pair.far.transport.pause_reading()
    pair.near.transport.close()
    run_until(loop, lambda: pair.near.is_lost)
    assert isinstance(pair.near.lost_with, TimeoutError)
    assert str(pair.near.lost_with) == "SSL shutdown timed out"
    end(loop, pair.far.transport)
    run_until(loop, lambda: pair.far.is_lost)


@pytest.mark.parametrize("method", ["create_connection", "create_unix_connection", "connect_accepted_socket"])
def test_ssl_handshake_timeout_gives_a_silent_peer_up(loop: Loop, certificates: Certificates, method: str) -> None:
    ours, peer = socket.socketpair()
    options: dict[str, Any] = {"ssl": certificates.server_context(), "ssl_handshake_timeout": SHORT_S}
    if method != "connect_accepted_socket":
        options |= {"ssl": certificates.client_context(), "server_hostname": "localhost"}
    with peer, pytest.raises(ConnectionAbortedError, match=r"longer than 0\.02 seconds"):
        run(loop, getattr(loop, method)(Recorder, sock=ours, **options))


def test_ssl_handshake_timeout_of_start_tls_gives_a_silent_peer_up(loop: Loop, certificates: Certificates) -> None:
    ours, peer = socket.socketpair()

    async def main() -> None:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        await loop.start_tls(
            transport, protocol, certificates.client_context(), server_hostname="x", ssl_handshake_timeout=SHORT_S
        )

    with peer, pytest.raises(ConnectionAbortedError, match=r"longer than 0\.02 seconds"):
        run(loop, main())


@pytest.mark.parametrize("unix", [False, True], ids=["create_server", "create_unix_server"])
def test_ssl_handshake_timeout_of_a_server_closes_a_silent_client(
    loop: Loop, certificates: Certificates, path: str, unix: bool
) -> None:
    options: dict[str, Any] = {"ssl": certificates.server_context(), "ssl_handshake_timeout": SHORT_S}
    if unix:
        server = run(loop, loop.create_unix_server(Recorder, path, **options))
    else:
        server = run(loop, loop.create_server(Recorder, LOCALHOST, 0, **options))
    listening = server.sockets[0]
    with socket.socket(listening.family) as client:
        client.connect(listening.getsockname())
        client.setblocking(False)
        got: list[bytes] = []

        def is_closed() -> bool:
            with contextlib.suppress(BlockingIOError):
                got.append(client.recv(1))
            return bool(got)

        run_until(loop, is_closed)
    assert got == [b""]
    server.close()


# --- servers ----------------------------------------------------------------------------------------------------


def test_family_and_flags_of_a_server_choose_what_it_listens_on(loop: Loop) -> None:
    server = run(loop, loop.create_server(Recorder, None, 0, family=socket.AF_INET))
    assert [sock.family for sock in server.sockets] == [socket.AF_INET]
    server.close()
    with pytest.raises(socket.gaierror):
        run(loop, loop.create_server(Recorder, "localhost", 0, flags=socket.AI_NUMERICHOST))


def test_reuse_port_lets_two_servers_have_one_port_and_reuse_address_one_that_was_just_used(loop: Loop) -> None:
    first = run(loop, loop.create_server(Recorder, LOCALHOST, 0, reuse_port=True, reuse_address=False))
    port = first.sockets[0].getsockname()[1]
    second = run(loop, loop.create_server(Recorder, LOCALHOST, port, reuse_port=True, reuse_address=True))
    options = [
        tuple(
            server.sockets[0].getsockopt(socket.SOL_SOCKET, option)
            for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        )
        for server in (first, second)
    ]
    assert options == [(1, 0), (1, 1)]
    for server in (first, second):
        server.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="keep_alive came with 3.13")
@pytest.mark.parametrize("keep_alive", [False, True])
def test_keep_alive_of_a_server_is_its_sockets(loop: Loop, keep_alive: bool) -> None:
    server = run(loop, loop.create_server(Recorder, LOCALHOST, 0, keep_alive=keep_alive))
    assert bool(server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keep_alive
    server.close()


def test_backlog_is_how_many_may_wait_for_a_server(loop: Loop, path: str) -> None:
    server = run(loop, loop.create_server(Recorder, LOCALHOST, 0, backlog=7))
    # Of a listening socket, the sixth number after the first eight bytes of TCP_INFO is the backlog.
    information = server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    assert struct.unpack_from("I", information, 28) == (7,)
    server.close()
    server = run(loop, loop.create_unix_server(Recorder, path, backlog=2))
    with contextlib.ExitStack() as stack:
        results = []
        for _ in range(5):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            results.append(client.connect_ex(path))
        assert results == [0, 0, 0, 11, 11]
        server.close()


@pytest.mark.parametrize("unix", [False, True], ids=["create_server", "create_unix_server"])
def test_start_serving_false_makes_a_server_that_does_not_listen_yet(loop: Loop, path: str, unix: bool) -> None:
    if unix:
        server = run(loop, loop.create_unix_server(Recorder, path, start_serving=False))
    else:
        server = run(loop, loop.create_server(Recorder, LOCALHOST, 0, start_serving=False))
    assert not server.is_serving()
    listening = server.sockets[0]
    with socket.socket(listening.family) as client, pytest.raises(ConnectionRefusedError):
        client.connect(listening.getsockname())
    run(loop, server.start_serving())
    assert server.is_serving()
    with socket.socket(listening.family) as client:
        client.connect(listening.getsockname())
        # The connection ends with its client.
        turn(loop, 3)
    turn(loop, 3)
    server.close()


# --- datagrams --------------------------------------------------------------------------------------------------


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.append((data, address))


def test_an_endpoint_receives_at_local_addr_and_sends_to_remote_addr(loop: Loop) -> None:
    options: dict[str, Any] = {"family": socket.AF_INET, "proto": socket.IPPROTO_UDP, "flags": socket.AI_PASSIVE}
    server, there = run(loop, loop.create_datagram_endpoint(Datagrams, local_addr=(LOCALHOST, 0), **options))
    address = server.get_extra_info("sockname")
    client, here = run(loop, loop.create_datagram_endpoint(Datagrams, remote_addr=address))
    client.sendto(b"there")
    run_until(loop, lambda: there.received)
    assert there.received == [(b"there", client.get_extra_info("sockname"))]
    server.sendto(b"back", client.get_extra_info("sockname"))
    run_until(loop, lambda: here.received)
    assert here.received == [(b"back", address)]
    end(loop, server, client)


def test_options_of_an_endpoint_are_its_sockets(loop: Loop) -> None:
    one, _ = run(
        loop,
        loop.create_datagram_endpoint(Datagrams, local_addr=(LOCALHOST, 0), reuse_port=True, allow_broadcast=True),
    )
    address = one.get_extra_info("sockname")
    other, _ = run(loop, loop.create_datagram_endpoint(Datagrams, local_addr=address, reuse_port=True))
    broadcast = [
        end.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) for end in (one, other)
    ]
    assert broadcast == [1, 0]
    end(loop, one, other)


def test_an_endpoint_takes_a_socket_that_is_there_and_a_family_of_its_own(loop: Loop, path: str) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((LOCALHOST, 0))
    sock.setblocking(False)
    transport, _ = run(loop, loop.create_datagram_endpoint(Datagrams, sock=sock))
    assert transport.get_extra_info("sockname") == sock.getsockname()
    unix, there = run(loop, loop.create_datagram_endpoint(Datagrams, local_addr=path, family=socket.AF_UNIX))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"by path", path)
    run_until(loop, lambda: there.received)
    assert there.received == [(b"by path", None)]
    end(loop, transport, unix)


# --- sockets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def udp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other,
    ):
        for sock in (one, other):
            sock.bind((LOCALHOST, 0))
            sock.setblocking(False)
        yield one, other


def test_sock_sendto_and_sock_recvfrom_move_datagrams_cut_at_the_size(
    loop: Loop, udp: tuple[socket.socket, socket.socket]
) -> None:
    one, other = udp

    async def main() -> None:
        receiving = asyncio.create_task(loop.sock_recvfrom(other, 4))
        await asyncio.sleep(0)
        assert await loop.sock_sendto(one, b"too long", other.getsockname()) == 8
        assert await receiving == (b"too ", one.getsockname())
        buffer = bytearray(b"........")
        await loop.sock_sendto(one, b"filled", other.getsockname())
        assert await loop.sock_recvfrom_into(other, buffer) == (6, one.getsockname())
        assert buffer == b"filled.."
        await loop.sock_sendto(one, memoryview(b"XYZ"), other.getsockname())
        assert await loop.sock_recvfrom_into(other, buffer, 2) == (2, one.getsockname())
        assert buffer == b"XYlled.."

    run(loop, main())


@pytest.mark.parametrize("method", ["sendfile", "sock_sendfile"])
@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (2, 5, b"23456"), (8, 100, b"89")],
)
def test_offset_and_count_choose_the_part_of_a_file_to_send(
    loop: Loop, listener: socket.socket, method: str, offset: int, count: int | None, expected: bytes
) -> None:
    async def send(sock: socket.socket, file: Any) -> int:
        if method == "sock_sendfile":
            return await loop.sock_sendfile(sock, file, offset=offset, count=count)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        try:
            return await loop.sendfile(transport, file, offset=offset, count=count)
        finally:
            transport.close()

    with socket.create_connection(listener.getsockname()) as ours, tempfile.TemporaryFile() as file:
        ours.setblocking(False)
        file.write(b"0123456789")
        file.flush()
        accepted, _ = listener.accept()
        with accepted:
            assert run(loop, send(ours, file)) == len(expected)
            assert accepted.recv(100) == expected
            assert file.tell() == offset + len(expected)


@pytest.mark.parametrize("method", ["sendfile", "sock_sendfile"])
def test_fallback_sends_what_is_no_file_of_the_system_or_refuses_to(
    loop: Loop, listener: socket.socket, method: str
) -> None:
    async def send(sock: socket.socket, *, fallback: bool) -> int:
        file = io.BytesIO(b"in memory")
        if method == "sock_sendfile":
            return await loop.sock_sendfile(sock, file, fallback=fallback)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock.dup())
        try:
            return await loop.sendfile(transport, file, fallback=fallback)
        finally:
            transport.close()

    with socket.create_connection(listener.getsockname()) as ours:
        ours.setblocking(False)
        accepted, _ = listener.accept()
        with accepted:
            with pytest.raises((asyncio.SendfileNotAvailableError, RuntimeError)):
                run(loop, send(ours, fallback=False))
            assert run(loop, send(ours, fallback=True)) == 9
            assert accepted.recv(100) == b"in memory"


# --- subprocesses -----------------------------------------------------------------------------------------------


class Process(asyncio.SubprocessProtocol):
    """Collects the output of the child, by descriptor."""

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {}
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.written[fd] = self.written.get(fd, b"") + data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


SHOW = "import os, sys; sys.stdout.write(repr((sys.argv[1:], os.getcwd(), os.environ.get('KEY'))))"


def test_arguments_of_subprocess_exec_reach_the_child(loop: Loop, tmp_path: Path) -> None:
    async def main() -> None:
        transport, protocol = await loop.subprocess_exec(
            Process, sys.executable, "-c", SHOW, "one", "two words", cwd=tmp_path, env={**os.environ, "KEY": "value"}
        )
        await protocol.ended.wait()
        assert transport.get_returncode() == 0
        assert protocol.written == {1: repr((["one", "two words"], str(tmp_path), "value")).encode()}
        transport.close()

    run(loop, main())


@pytest.mark.parametrize("method", ["subprocess_exec", "subprocess_shell"])
def test_stdin_stdout_and_stderr_of_a_child_go_where_they_are_told_to(loop: Loop, tmp_path: Path, method: str) -> None:
    command = "cat; echo error >&2"

    async def start(**options: Any) -> tuple[Any, Process]:
        if method == "subprocess_shell":
            return await loop.subprocess_shell(Process, command, **options)
        return await loop.subprocess_exec(Process, "/bin/sh", "-c", command, **options)

    async def main() -> None:
        transport, protocol = await start()
        transport.get_pipe_transport(0).write(b"through pipes\n")
        transport.get_pipe_transport(0).close()
        await protocol.ended.wait()
        assert protocol.written == {1: b"through pipes\n", 2: b"error\n"}
        transport.close()
        with (tmp_path / "out").open("w+b") as out, (tmp_path / "in").open("w+b") as given:
            given.write(b"from a file\n")
            given.seek(0)
            transport, protocol = await start(stdin=given, stdout=out, stderr=asyncio.subprocess.STDOUT)
            assert transport.get_pipe_transport(0) is None
            await protocol.ended.wait()
            transport.close()
            out.seek(0)
            assert out.read() == b"from a file\nerror\n"
        assert protocol.written == {}
        transport, protocol = await start(
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        await protocol.ended.wait()
        assert protocol.written == {}
        transport.close()

    run(loop, main())


def test_further_arguments_of_subprocess_shell_reach_popen(loop: Loop, tmp_path: Path) -> None:
    async def main() -> None:
        transport, protocol = await loop.subprocess_shell(Process, "pwd; echo $KEY", cwd=tmp_path, env={"KEY": "value"})
        await protocol.ended.wait()
        assert protocol.written == {1: f"{tmp_path}\nvalue\n".encode()}
        transport.close()

    run(loop, main())


@pytest.mark.parametrize("method", ["subprocess_exec", "subprocess_shell"])
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"bufsize": 1}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
        ({"shell": None}, "shell must be"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_pipes_of_children_carry_bytes_only(loop: Loop, method: str, argument: dict[str, Any], message: str) -> None:
    if "shell" in argument:
        argument = {"shell": method == "subprocess_exec"}
    with pytest.raises(ValueError, match=message):
        run(loop, getattr(loop, method)(Process, "true", **argument))


# --- the rest ---------------------------------------------------------------------------------------------------


def test_a_task_factory_makes_the_tasks_and_gets_what_create_task_was_given(loop: Loop) -> None:
    given: list[dict[str, Any]] = []

    def factory(loop: Loop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        given.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    task = loop.create_task(asyncio.sleep(0, "result"), name="named")
    assert run(loop, _wait_for(task)) == "result"
    assert task.get_name() == "named"
    assert len(given) == 2
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None


async def _wait_for(task: asyncio.Task[Any]) -> Any:
    return await task


@pytest.mark.skipif(sys.version_info < (3, 14), reason="create_task takes eager_start from 3.14 on")
def test_create_task_hands_further_arguments_to_the_task(loop: Loop) -> None:
    async def main() -> None:
        ran: list[int] = []

        async def work() -> None:
            ran.append(1)

        task = loop.create_task(work(), eager_start=True)
        assert task.done()
        assert ran == [1]

    run(loop, main())


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="the timeout came with 3.12, whose first versions wait for the threads first"
)
def test_the_timeout_of_the_executors_shutdown_gives_busy_threads_up(loop: Loop) -> None:
    release = threading.Event()
    busy = loop.run_in_executor(None, release.wait)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(loop, loop.shutdown_default_executor(timeout=SHORT_S))
    assert [warning.category for warning in caught] == [RuntimeWarning]
    release.set()
    run_until(loop, busy.done)


def test_the_protocol_of_getaddrinfo_is_that_of_the_answers(loop: Loop) -> None:
    answers = run(loop, loop.getaddrinfo("localhost", 80, proto=socket.IPPROTO_UDP))
    assert {answer[2] for answer in answers} == {socket.IPPROTO_UDP}


def test_the_default_exception_handler_logs_its_context(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.default_exception_handler({"message": "told", "exception": ZeroDivisionError("why"), "extra": [1]})
    (record,) = caplog.records
    assert record.getMessage() == "told\nextra: [1]"
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "ZeroDivisionError('why')"


def test_the_transport_of_a_stream_reader_is_paused_when_too_much_was_read(loop: Loop) -> None:
    async def main() -> None:
        ours, peer = socket.socketpair()
        with peer:
            reader = asyncio.StreamReader(limit=10, loop=loop)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            reader.set_transport(transport)
            reader.feed_data(b"x" * 21)
            assert not transport.is_reading()
            assert await reader.read(21) == b"x" * 21
            assert transport.is_reading()
            transport.close()

    run(loop, main())
