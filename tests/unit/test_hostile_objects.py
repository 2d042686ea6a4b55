"""Native code is handed what it was not made for: it raises, or leaves the matter to asyncio; it reads no memory as
something that it is not."""

import asyncio
import gc
import pathlib
import socket
import subprocess
import sys
import textwrap
import types
from typing import Any

import pytest

import ferrio.asyncio
from ferrio import _ferrio

from .loops import NAME, ferrio_only, run, run_until, turn

Loop = Any


def output_of(program: str) -> str:
    """Run *program* in a new process, which must succeed, and return its output."""
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@ferrio_only
@pytest.mark.timeout(120)
@pytest.mark.parametrize("subject", ["wrong_receivers", "wrong_arguments", "wrong_values", "twice"])
def test_every_attribute_of_every_native_type_withstands(subject: str, tmp_path: pathlib.Path) -> None:
    program = pathlib.Path(__file__).with_name("hostile_calls.py")
    calls = tmp_path / "calls"
    with calls.open("w") as file:
        command = [sys.executable, "-X", "faulthandler", "-W", "ignore", str(program), subject]
        ran = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, timeout=120, check=False)
    last = calls.read_text(errors="replace").splitlines()[-1]
    assert (ran.returncode, last) == (0, "everything was called"), ran.stderr[-3000:].decode(errors="replace")


# --- the ready queue -----------------------------------------------------------------------------------------------


def test_what_only_looks_like_a_handle_is_run_as_one(loop: Loop) -> None:
    ran: list[str] = []
    alike = types.SimpleNamespace(_cancelled=False, _run=lambda: ran.append("alike"))
    cancelled = types.SimpleNamespace(_cancelled=True, _run=lambda: ran.append("cancelled"))
    if sys.version_info < (3, 12) and not isinstance(loop, ferrio.Loop):
        pytest.skip("asyncio asserts that it is a handle, before 3.12")
    loop._add_callback(alike)
    loop._add_callback(cancelled)
    turn(loop)
    assert ran == ["alike"]


def test_the_mock_of_a_handle_counts_as_cancelled() -> None:
    program = f"""
        import asyncio, ferrio, unittest.mock
        loop = {"ferrio.new_event_loop" if NAME == "ferrio" else "asyncio.SelectorEventLoop"}()
        mock = unittest.mock.Mock(spec=asyncio.Handle)
        loop._add_callback(mock)
        loop._add_callback_signalsafe(mock)
        loop.call_soon(loop.stop)
        loop.run_forever()
        print(mock._run.called)
        loop.close()
    """
    assert output_of(program) == "False"


# --- futures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["await", "wait_for", "shield", "gather"])
def test_waiting_for_an_uninitialised_future_is_an_error(loop: Loop, use: str) -> None:
    kind: Any = type(loop.create_future())
    functions: Any = ferrio.asyncio if isinstance(loop, ferrio.Loop) else asyncio

    async def main() -> None:
        future = kind.__new__(kind)
        match use:
            case "await":
                await future
            case "wait_for":
                await functions.wait_for(future, 1)
            case "shield":
                await functions.shield(future)
            case "gather":
                await functions.gather(future)

    with pytest.raises((RuntimeError, ValueError)):
        run(loop, main())


@ferrio_only
def test_the_futures_of_a_wait_may_be_altered_behind_its_back(loop: Loop) -> None:
    waiting = ferrio.asyncio.wait([loop.create_future()])

    async def main() -> None:
        asyncio.get_running_loop().call_soon(alter)
        await waiting

    def alter() -> None:
        futures = next(each for each in gc.get_referents(waiting) if isinstance(each, set))
        futures.add(42)
        next(iter(each for each in futures if each != 42)).cancel()

    with pytest.raises((TypeError, AttributeError)):
        run(loop, main())


def test_a_task_that_waits_wakes_though_call_soon_is_replaced(loop: Loop) -> None:
    async def waits(future: asyncio.Future[None]) -> str:
        try:
            await future
        except ValueError as error:
            return str(error)
        return "no error"

    async def main() -> list[str]:
        futures = [loop.create_future() for _ in range(3)]
        tasks = [loop.create_task(waits(future)) for future in futures]
        await asyncio.sleep(0)
        plain = loop.call_soon

        def wrapped(callback: Any, *args: Any, context: Any = None) -> Any:
            return plain(lambda: callback(*args), context=context)

        loop.call_soon = wrapped
        futures[0].set_exception(ValueError("heard"))
        futures[1].set_result(None)
        # asyncio's own method, past the one that a subclass may have.
        asyncio.Future.set_exception(futures[2], ValueError("heard too"))
        return [await task for task in tasks]

    assert run(loop, main()) == ["heard", "no error", "heard too"]


# --- names that a program has replaced -----------------------------------------------------------------------------


@ferrio_only
def test_another_gathering_future_is_asyncios_to_use() -> None:
    program = """
        import asyncio, ferrio, ferrio.asyncio

        class Gathering(asyncio.futures._PyFuture):
            def __init__(self, children, *, loop):
                super().__init__(loop=loop)
                self._cancel_requested = False

        asyncio.tasks._GatheringFuture = Gathering

        async def main():
            outer = ferrio.asyncio.gather(ferrio.asyncio.sleep(0, 1), ferrio.asyncio.sleep(0, 2))
            return type(outer).__name__, await outer

        with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
            print(*runner.run(main()))
    """
    assert output_of(program) == "Gathering [1, 2]"


@ferrio_only
@pytest.mark.parametrize("replacement", ["asyncio.Timeout", "Other", "lambda when: Other(when)"])
def test_another_timeout_is_called(replacement: str) -> None:
    program = f"""
        import asyncio, ferrio, ferrio._timeouts, ferrio.asyncio

        class Other(asyncio.Timeout):
            pass

        ferrio._timeouts.Timeout = {replacement}

        async def main():
            async with ferrio.asyncio.timeout(5) as limit:
                await asyncio.sleep(0)
            await ferrio.asyncio.wait_for(asyncio.sleep(0), 5)
            return type(limit).__module__, type(limit).__qualname__

        with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
            print(*runner.run(main()))
    """
    expected = "asyncio.timeouts Timeout" if replacement == "asyncio.Timeout" else "__main__ Other"
    assert output_of(program) == expected


@ferrio_only
@pytest.mark.parametrize("replaced", ["socket.socket", "collections.deque"])
def test_classes_may_be_replaced_before_ferrio_comes(replaced: str) -> None:
    program = f"""
        import asyncio, collections, socket
        pair = socket.socketpair()

        class Replacement({replaced}):
            # Of another size, and with another class's method.
            __slots__ = tuple("abcdefgh")
            append = list.append

        {replaced} = Replacement
        import ferrio, ferrio.asyncio

        async def main():
            loop = asyncio.get_running_loop()
            for first, second in (pair, socket.socketpair()):
                first.setblocking(False)
                second.setblocking(False)
                await loop.sock_sendall(first, b"data")
                print(await loop.sock_recv(second, 10))
            lock = ferrio.asyncio.Lock()
            async with lock:
                waits = asyncio.ensure_future(lock.acquire())
                await asyncio.sleep(0)
                waits.cancel()
                await asyncio.gather(waits, return_exceptions=True)

        loop = ferrio.new_event_loop()
        try:
            loop.run_until_complete(main())
        except TypeError as error:
            # Of a list's method, for what is no list.
            print(error)
        loop.close()
    """
    lines = output_of(program).splitlines()
    assert lines[:2] == ["b'data'"] * 2
    assert len(lines) == 2 or "list" in lines[2]


# --- sockets and transports ----------------------------------------------------------------------------------------


@ferrio_only
@pytest.mark.parametrize("method", ["_sock_wait_readable", "_sock_wait_writable"])
def test_waiting_for_what_is_no_socket_is_an_error(loop: Loop, method: str) -> None:
    async def main(value: Any) -> None:
        await getattr(loop, method)(value)

    for value in (None, 1, "text", object(), socket.socket, loop):
        with pytest.raises((AttributeError, TypeError)):
            run(loop, main(value))


class Received(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data += data


def socketpair(kind: int) -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, kind)
    for sock in pair:
        sock.setblocking(False)
    return pair


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_transport_whose_init_is_called_again_serves_the_second_socket(
    loop: Loop, kind: int, has_begun: bool
) -> None:
    (first, first_peer), (second, second_peer) = socketpair(kind), socketpair(kind)
    number = first.fileno()
    protocol = Received()
    if kind == socket.SOCK_STREAM:
        transport = loop._make_socket_transport(first, protocol)
    else:
        transport = loop._make_datagram_transport(first, protocol)
    if has_begun:
        turn(loop, 3)
    transport.__init__(loop, second, protocol)
    turn(loop, 3)
    second_peer.send(b"second")
    run_until(loop, lambda: protocol.data == b"second")
    assert transport.get_extra_info("socket").fileno() == second.fileno()
    transport.abort()
    turn(loop, 3)
    assert second.fileno() == -1
    if isinstance(loop, ferrio.Loop):
        # asyncio's goes on watching the first socket for ever.
        assert kind == socket.SOCK_DGRAM or number not in loop._transports
        first_peer.send(b"nobody hears")
        turn(loop, 3)
        assert protocol.data == b"second"
    else:
        loop._remove_reader(number)
    for sock in (first, first_peer, second_peer):
        sock.close()


@ferrio_only
def test_a_transport_that_is_opened_again_while_it_lets_go_keeps_one_socket(loop: Loop) -> None:
    (first, a), (second, b), (third, c) = (socketpair(socket.SOCK_STREAM) for _ in range(3))
    transport = loop._make_socket_transport(first, Received())
    number = first.fileno()

    class Second(socket.socket):
        # Asked for its number, it opens the transport with a third socket.
        def fileno(self) -> int:
            if transport._sock is first:
                transport._open(loop, third, Received(), None, None)
            return super().fileno()

    second = Second(fileno=second.detach())
    transport._open(loop, second, Received(), None, None)
    assert [loop._transports.get(each) for each in (number, third.fileno())] == [None, None]
    assert loop._transports[second.fileno()] is transport
    transport.abort()
    turn(loop, 2)
    assert not list(loop._transports)
    for sock in (first, second, third, a, b, c):
        sock.close()


@ferrio_only
@pytest.mark.parametrize("kind", [_ferrio.StreamTransport, _ferrio.DatagramTransport])
def test_a_transport_that_was_made_by_new_alone_can_do_nothing(kind: Any) -> None:
    transport = kind.__new__(kind)
    for name in ("close", "abort", "pause_reading", "resume_reading", "is_reading", "is_closing", "_release"):
        with pytest.raises(RuntimeError, match="not been opened"):
            getattr(transport, name)()
    is_stream = kind is _ferrio.StreamTransport
    for name in ("write", "writelines", "write_eof") if is_stream else ("sendto",):
        arguments = {"write": (b"data",), "writelines": ([b"data"],), "sendto": (b"data",)}
        with pytest.raises(RuntimeError, match="not been opened"):
            getattr(transport, name)(*arguments.get(name, ()))
