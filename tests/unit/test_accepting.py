"""Accepting and connecting: what the factory, the protocol and the server see, and failures in between."""

import asyncio
import contextvars
import gc
import os
import socket
import subprocess
import sys
import weakref
from typing import Any

import pytest

import ferrio

from .connections import Recorder
from .loops import ferrio_only, open_descriptors, run, run_until, turn

Loop = asyncio.AbstractEventLoop


def serve(loop: Loop, factory: Any, **options: Any) -> tuple[asyncio.Server, Any]:
    server = run(loop, loop.create_server(factory, "127.0.0.1", 0, **options))
    return server, server.sockets[0].getsockname()


def test_the_factory_is_called_a_turn_after_the_connection_was_found(loop: Loop) -> None:
    order: list[str] = []

    class Notes(asyncio.Protocol):
        def __init__(self) -> None:
            order.append("factory")
            loop.call_soon(order.append, "soon after the factory")

        def connection_made(self, transport: Any) -> None:
            order.append("made")
            transport.abort()

    server, address = serve(loop, Notes)
    with socket.create_connection(address):
        run_until(loop, lambda: "made" in order)
    assert order == ["factory", "soon after the factory", "made"]
    server.close()


def test_what_a_factory_sets_is_seen_by_its_connection_alone(loop: Loop) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen: list[tuple[int, str, int]] = []
    count = 0

    class Sees(asyncio.Protocol):
        def __init__(self) -> None:
            nonlocal count
            count += 1
            self.number = count
            seen.append((self.number, "factory", variable.get()))
            variable.set(self.number)

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            seen.append((self.number, "made", variable.get()))

        def data_received(self, data: bytes) -> None:
            seen.append((self.number, "data", variable.get()))
            self.transport.abort()

    server, address = serve(loop, Sees)
    with socket.create_connection(address) as one, socket.create_connection(address) as two:
        one.send(b"x")
        two.send(b"x")
        run_until(loop, lambda: len(seen) == 6)
    for number in (1, 2):
        mine = [(what, value) for which, what, value in seen if which == number]
        assert mine == [("factory", 0), ("made", number), ("data", number)]
    server.close()


# asyncio's transport fails in its destructor then.
@ferrio_only
def test_a_connection_accepted_by_a_server_that_is_closed_before_it_is_welcomed_is_closed(loop: Loop) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        server.close()
        return made[-1]

    server, address = serve(loop, factory)
    with socket.create_connection(address) as client:
        client.settimeout(5)
        run_until(loop, lambda: made)
        turn(loop, 3)
        gc.collect()
        assert client.recv(1) == b""
    assert made[0].names == []


@pytest.mark.parametrize("raised", [LookupError, asyncio.CancelledError])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_factory_that_fails_closes_its_connection_and_no_other(loop: Loop, raised: type[BaseException]) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        if not made:
            made.append(Recorder())
            raise raised("the first")
        made.append(Recorder())
        return made[-1]

    server, address = serve(loop, factory)
    with socket.create_connection(address) as refused, socket.create_connection(address):
        refused.settimeout(5)
        run_until(loop, lambda: len(made) == 2 and made[1].transport)
        gc.collect()
        assert refused.recv(1) == b""
        made[1].transport.abort()
        turn(loop, 2)
    server.close()


@pytest.mark.usefixtures("contexts")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_factory_s_exit_leaves_the_loop(loop: Loop) -> None:
    def factory() -> asyncio.Protocol:
        raise SystemExit(3)

    server, address = serve(loop, factory)
    with socket.create_connection(address), pytest.raises(SystemExit):
        run(loop, asyncio.sleep(5))
    server.close()
    gc.collect()


def test_debug_mode_tells_of_a_factory_that_fails(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    loop.set_debug(True)

    def factory() -> asyncio.Protocol:
        raise LookupError("no protocol")

    server, address = serve(loop, factory)
    with socket.create_connection(address):
        run_until(loop, lambda: contexts)
    assert contexts[0]["message"] == "Error on transport creation for incoming connection"
    assert isinstance(contexts[0]["exception"], LookupError)
    contexts.clear()
    server.close()


def test_a_task_factory_is_asked_for_each_connection(loop: Loop) -> None:
    names: list[str] = []

    def factory(loop: Loop, coroutine: Any, **options: Any) -> Any:
        names.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    protocol = Recorder()
    server, address = serve(loop, lambda: protocol)
    loop.set_task_factory(factory)
    with socket.create_connection(address):
        run_until(loop, lambda: protocol.transport)
    loop.set_task_factory(None)
    assert any(name.endswith("_accept_connection2") for name in names)
    protocol.transport.abort()
    turn(loop, 2)
    server.close()


@ferrio_only
def test_connections_that_were_not_welcomed_are_closed_with_the_loop(make_loop: Any) -> None:
    before = open_descriptors()
    loop = make_loop()
    server, address = serve(loop, Recorder)
    clients = [socket.create_connection(address) for _ in range(3)]
    turn(loop)
    server.close()
    loop.close()
    for client in clients:
        client.settimeout(5)
        assert client.recv(1) == b""
        client.close()
    assert open_descriptors().keys() == before.keys()


@ferrio_only
def test_a_loop_with_connections_that_were_not_welcomed_can_be_collected() -> None:
    loop = ferrio.new_event_loop()
    server, address = serve(loop, Recorder)
    with socket.create_connection(address):
        turn(loop)
        alive = weakref.ref(loop)
        server.close()
        del loop, server
        gc.collect()
        assert alive() is None


def test_a_burst_is_accepted_whole(loop: Loop) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server, address = serve(loop, factory, backlog=64)
    clients = [socket.create_connection(address) for _ in range(50)]
    run_until(loop, lambda: made)
    assert len(made) == 50
    run_until(loop, lambda: all(protocol.transport for protocol in made))
    names = {protocol.transport.get_extra_info("peername") for protocol in made}
    assert names == {client.getsockname() for client in clients}
    for protocol in made:
        protocol.transport.abort()
    turn(loop, 2)
    for client in clients:
        client.close()
    server.close()


# --- what is known of a connection --------------------------------------------------------------------------


def accepted(loop: Loop, family: int = socket.AF_INET) -> tuple[Recorder, socket.socket, asyncio.Server]:
    protocol = Recorder()
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    server = run(loop, loop.create_server(lambda: protocol, host, 0))
    client = socket.create_connection(server.sockets[0].getsockname()[:2])
    run_until(loop, lambda: protocol.transport)
    return protocol, client, server


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_names_are_the_kernel_s_and_outlive_both_ends(loop: Loop, family: int) -> None:
    protocol, client, server = accepted(loop, family)
    names = (client.getsockname(), client.getpeername())
    transport = protocol.transport

    def shown() -> tuple[Any, Any]:
        return transport.get_extra_info("peername"), transport.get_extra_info("sockname")

    assert shown() == names
    client.close()
    run_until(loop, lambda: protocol.is_lost)
    assert shown() == names
    assert transport.get_extra_info("socket").fileno() == -1
    assert transport.get_extra_info("socket").family == family
    assert shown() == names
    server.close()


def test_the_socket_is_one_object_and_works(loop: Loop) -> None:
    protocol, client, server = accepted(loop)
    transport = protocol.transport
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, asyncio.trsock.TransportSocket)
    assert transport.get_extra_info("socket") is sock
    assert (sock.family, sock.type, sock.gettimeout()) == (socket.AF_INET, socket.SOCK_STREAM, 0.0)
    assert sock.proto == server.sockets[0].proto
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert (sock.getpeername(), sock.getsockname()) == (client.getsockname(), client.getpeername())
    assert os.get_inheritable(sock.fileno()) is False
    client.send(b"through it all")
    run_until(loop, lambda: protocol.received == b"through it all")
    transport.abort()
    turn(loop, 2)
    assert sock.fileno() == -1
    client.close()
    server.close()


def test_extra_information_is_asked_for_as_asyncio_is_asked(loop: Loop) -> None:
    protocol, client, server = accepted(loop)
    transport = protocol.transport
    assert transport.get_extra_info("nothing") is None
    assert transport.get_extra_info("nothing", 1) == 1
    assert transport.get_extra_info(name="nothing", default=2) == 2
    assert transport.get_extra_info(default=2, name="peername") == client.getsockname()
    with pytest.raises(TypeError):
        transport.get_extra_info()
    with pytest.raises(TypeError):
        transport.get_extra_info("name", 1, 2)
    with pytest.raises(TypeError):
        transport.get_extra_info("name", name="name")
    with pytest.raises(TypeError, match="unhashable"):
        transport.get_extra_info([])
    assert transport._extra.keys() == {"socket", "sockname", "peername"}
    transport._extra["mine"] = 3
    assert transport.get_extra_info("mine") == 3
    transport.abort()
    turn(loop, 2)
    client.close()
    server.close()


def test_an_abstract_name_is_bytes(loop: Loop) -> None:
    name = f"\0ferrio-test-{os.getpid()}"
    protocol = Recorder()
    server = run(loop, loop.create_unix_server(lambda: protocol, name))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
        run_until(loop, lambda: protocol.transport)
        assert protocol.transport.get_extra_info("sockname") == name.encode()
        assert protocol.transport.get_extra_info("peername") == ""
        protocol.transport.abort()
        turn(loop, 2)
    server.close()


# --- connecting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connecting_to_a_numeric_address(loop: Loop, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        transport, protocol = run(loop, loop.create_connection(Recorder, *listener.getsockname()[:2]))
        peer, name = listener.accept()
        assert protocol.names == ["made"]
        assert transport.get_extra_info("peername") == listener.getsockname()
        assert transport.get_extra_info("sockname") == name
        with peer:
            transport.close()
            turn(loop, 2)
            assert peer.recv(1) == b""
        assert protocol.lost_with is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_listening_is_told_as_asyncio_tells_it(loop: Loop, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as gone:
        address = gone.getsockname()
    with pytest.raises(ConnectionRefusedError) as caught:
        run(loop, loop.create_connection(Recorder, *address[:2]))
    assert caught.value.args == (111, f"Connect call failed {address}")


def test_a_connection_that_takes_its_time_is_waited_for(loop: Loop) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # A full backlog leaves the next connection without an answer until somebody accepts.
        listener.listen(0)
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())

        async def main() -> None:
            connecting = asyncio.ensure_future(loop.create_connection(Recorder, *listener.getsockname()))
            done, _ = await asyncio.wait([connecting], timeout=0.05)
            assert not done
            for _ in fillers:
                listener.accept()[0].close()
            # The kernel asks again after a second.
            transport, _ = await connecting
            assert transport.get_extra_info("peername") == listener.getsockname()
            transport.abort()

        run(loop, main())
        for filler in fillers:
            filler.close()


def test_a_connection_that_nobody_answers_is_cancelled_and_closed(loop: Loop) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        before = open_descriptors()

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await loop.create_connection(Recorder, *listener.getsockname())
            await asyncio.sleep(0)

        run(loop, main())
        assert open_descriptors().keys() <= before.keys()
        for filler in fillers:
            filler.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_factory_that_fails_closes_the_new_connection(loop: Loop) -> None:
    def factory() -> asyncio.Protocol:
        raise LookupError("no protocol")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(LookupError):
            run(loop, loop.create_connection(factory, *listener.getsockname()))
        gc.collect()
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert peer.recv(1) == b""


def test_bad_ports_and_options_are_refused_as_asyncio_refuses_them(loop: Loop) -> None:
    for port, error in ((65536, OverflowError), (-1, OverflowError)):
        with pytest.raises(error):
            run(loop, loop.create_connection(Recorder, "127.0.0.1", port))
    with pytest.raises(ValueError, match="ssl_handshake_timeout"):
        run(loop, loop.create_connection(Recorder, "127.0.0.1", 1, ssl_handshake_timeout=1.0))
    with pytest.raises(TypeError):
        run(loop, loop.create_connection(Recorder, "127.0.0.1", 1, nothing=None))  # type: ignore[call-overload]
    if sys.version_info >= (3, 12):
        with pytest.raises(ExceptionGroup, match="create_connection failed"):
            run(loop, loop.create_connection(Recorder, "127.0.0.1", 1, all_errors=True))


def test_who_replaces_the_class_of_sockets_is_asked_for_one(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Guarded(socket.socket):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(args)
            super().__init__(*args, **options)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socket", Guarded)
        transport, _ = run(loop, loop.create_connection(Recorder, *listener.getsockname()))
        monkeypatch.undo()
        assert made
        transport.abort()
        turn(loop, 2)


def test_an_audit_hook_hears_of_a_connection() -> None:
    program = """
import asyncio, socket, sys
import ferrio
heard = []
sys.addaudithook(lambda event, args: event == "socket.connect" and heard.append(args[1]))
listener = socket.create_server(("127.0.0.1", 0))
async def main():
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *listener.getsockname())
    transport.abort()
with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
    runner.run(main())
assert heard == [listener.getsockname()], heard
listener.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
