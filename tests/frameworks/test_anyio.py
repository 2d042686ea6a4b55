"""anyio on its asyncio backend with a loop factory."""

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.streams.tls import TLSListener, TLSStream

from .certificates import Certificates
from .loop_under_test import assert_running_on_loop_under_test, new_event_loop

T = TypeVar("T")

LIMIT_S = 15.0
BACKEND_OPTIONS = {"loop_factory": new_event_loop}


def run(main: Callable[[], Awaitable[T]]) -> T:
    """``anyio.run`` on the loop under test, failing after a limit."""

    async def limited() -> T:
        assert_running_on_loop_under_test()
        with anyio.fail_after(LIMIT_S):
            return await main()

    return anyio.run(limited, backend="asyncio", backend_options=BACKEND_OPTIONS)


def test_a_task_group_waits_for_its_tasks_and_gathers_their_errors() -> None:
    async def main() -> None:
        done: list[int] = []

        async def work(number: int, *, task_status: anyio.abc.TaskStatus[int]) -> None:
            task_status.started(number * 10)
            await anyio.lowlevel.checkpoint()
            done.append(number)

        async with anyio.create_task_group() as group:
            assert await group.start(work, 1) == 10
            assert await group.start(work, 2) == 20
        assert sorted(done) == [1, 2]

        async def fail() -> None:
            raise ValueError("one of two")

        cancelled = anyio.Event()

        async def wait_forever() -> None:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled.set()
                raise

        async def fail_beside_one_that_waits() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(wait_forever)
                group.start_soon(fail)

        with pytest.raises(BaseExceptionGroup) as caught:
            await fail_beside_one_that_waits()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert cancelled.is_set()

    run(main)


def test_cancel_scopes_nest_shield_and_time_out() -> None:
    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()

        shielded = False
        with anyio.CancelScope() as outer:
            outer.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                shielded = True
            await anyio.sleep_forever()
        assert shielded
        assert outer.cancelled_caught

        with anyio.move_on_after(60) as generous:
            await anyio.lowlevel.checkpoint()
        assert not generous.cancelled_caught

    run(main)


async def _echo(stream: anyio.abc.ByteStream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)
        if not isinstance(stream, TLSStream):
            await stream.send_eof()


async def _exchange(stream: anyio.abc.ByteStream, content: bytes) -> bytes:
    """What comes back while *content* is sent."""
    received = bytearray()

    async def send() -> None:
        await stream.send(content)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        while len(received) < len(content):
            received += await stream.receive()
    return bytes(received)


def test_tcp_listeners_serve_many_streams_at_once() -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, _echo)

            async def talk(number: int) -> None:
                content = random.Random(number).randbytes(100_000)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    assert stream.extra(anyio.abc.SocketAttribute.remote_port) == port
                    assert await _exchange(stream, content) == content
                    await stream.send_eof()
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive()

            async with anyio.create_task_group() as talkers:
                for number in range(20):
                    talkers.start_soon(talk, number)
            group.cancel_scope.cancel()
        await listener.aclose()

    run(main)


def test_connect_tcp_finds_the_address_that_answers() -> None:
    async def main() -> None:
        # localhost resolves to ::1 and 127.0.0.1, and only the second listens.
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, _echo)
            async with await anyio.connect_tcp("localhost", port) as stream:
                assert await _exchange(stream, b"found") == b"found"
            group.cancel_scope.cancel()
        await listener.aclose()
        with pytest.raises(OSError, match="All connection attempts failed"):
            await anyio.connect_tcp("127.0.0.1", port)

    run(main)


def test_unix_streams_carry_bytes_and_descriptors(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "anyio.sock"
        received: list[bytes] = []

        async def serve(stream: anyio.abc.UNIXSocketStream) -> None:
            async with stream:
                message, (descriptor,) = await stream.receive_fds(10, 1)
                with os.fdopen(descriptor, "rb") as file:
                    received.append(message + file.read())
                await stream.send(b"thanks")

        content = tmp_path / "content"
        content.write_bytes(b" and content")
        async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            async with await anyio.connect_unix(path) as stream:
                with content.open("rb") as file:
                    await stream.send_fds(b"message", [file])
                assert await stream.receive() == b"thanks"
            group.cancel_scope.cancel()
        assert received == [b"message and content"]

    run(main)


def test_udp_datagrams_arrive_with_their_sender() -> None:
    async def main() -> None:
        async with (
            await anyio.create_udp_socket(family=socket.AF_INET, local_host="127.0.0.1") as server,
            await anyio.create_connected_udp_socket(
                "127.0.0.1", server.extra(anyio.abc.SocketAttribute.local_port), family=socket.AF_INET
            ) as client,
        ):
            await client.send(b"datagram")
            content, sender = await server.receive()
            assert content == b"datagram"
            assert sender[1] == client.extra(anyio.abc.SocketAttribute.local_port)
            await server.sendto(b"answer", *sender)
            assert await client.receive() == b"answer"

    run(main)


def test_tls_streams_over_tcp_verify_and_close_properly(certificates: Certificates) -> None:
    async def main() -> None:
        plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = plain.extra(anyio.abc.SocketAttribute.local_port)
        listener = TLSListener(plain, certificates.server_context())
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, _echo)
            content = random.Random(10).randbytes(300_000)
            async with await anyio.connect_tcp(
                "127.0.0.1", port, ssl_context=certificates.client_context(), tls_standard_compatible=True
            ) as stream:
                assert await _exchange(stream, content) == content
            trusts_others = ssl.create_default_context()
            with pytest.raises(ssl.SSLCertVerificationError):
                await anyio.connect_tcp("127.0.0.1", port, ssl_context=trusts_others)
            group.cancel_scope.cancel()
        await listener.aclose()

    run(main)


def test_threads_call_into_the_loop_and_back() -> None:
    async def main() -> None:
        loop_thread = threading.get_ident()

        async def on_the_loop(number: int) -> int:
            assert threading.get_ident() == loop_thread
            await anyio.lowlevel.checkpoint()
            return number + 1

        def in_a_thread(number: int) -> int:
            assert threading.get_ident() != loop_thread
            assert anyio.from_thread.run_sync(threading.get_ident) == loop_thread
            return anyio.from_thread.run(on_the_loop, number) * 2

        results: list[int] = []

        async def ask(number: int) -> None:
            results.append(await anyio.to_thread.run_sync(in_a_thread, number))

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(ask, number)
        assert sorted(results) == [(number + 1) * 2 for number in range(30)]

        with pytest.raises(ZeroDivisionError):
            await anyio.to_thread.run_sync(lambda: 1 / 0)

    run(main)


def test_a_thread_left_behind_by_cancellation_finishes_on_its_own() -> None:
    async def main() -> None:
        release, finished = threading.Event(), threading.Event()

        def wait() -> None:
            anyio.from_thread.run_sync(scope.cancel)
            release.wait(LIMIT_S)
            finished.set()

        # A time limit could pass before a thread has begun: then the function is never called.
        with anyio.CancelScope() as scope:
            await anyio.to_thread.run_sync(wait, abandon_on_cancel=True)
        assert scope.cancelled_caught
        release.set()
        assert await anyio.to_thread.run_sync(finished.wait, LIMIT_S)

    run(main)


def test_a_blocking_portal_runs_the_loop_in_a_thread() -> None:
    async def double(number: int) -> int:
        assert_running_on_loop_under_test()
        await anyio.lowlevel.checkpoint()
        return number * 2

    with anyio.from_thread.start_blocking_portal("asyncio", BACKEND_OPTIONS) as portal:
        assert portal.call(double, 21) == 42
        futures = [portal.start_task_soon(double, number) for number in range(20)]
        assert [future.result(LIMIT_S) for future in futures] == [number * 2 for number in range(20)]


def test_signals_reach_their_receiver_and_nobody_else() -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def main() -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await anext(signals) is signal.SIGUSR1
            os.kill(os.getpid(), signal.SIGUSR2)
            assert await anext(signals) is signal.SIGUSR2

    run(main)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_processes_are_fed_read_and_reaped(tmp_path: Path) -> None:
    async def main() -> None:
        upper = "import sys; sys.stdout.write(sys.stdin.read().upper())"
        result = await anyio.run_process([sys.executable, "-c", upper], input=b"text " * 50_000)
        assert result.stdout == b"TEXT " * 50_000

        results: list[bytes] = []

        async def say(number: int) -> None:
            results.append((await anyio.run_process(f"echo {number}")).stdout)

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(say, number)
        assert sorted(results) == [b"%d\n" % number for number in range(10)]

        environment = await anyio.run_process(
            ["sh", "-c", "pwd; echo $WORD"], cwd=tmp_path, env={**os.environ, "WORD": "here"}
        )
        assert environment.stdout == f"{tmp_path.resolve()}\nhere\n".encode()

        failed = await anyio.run_process(["sh", "-c", "echo no >&2; exit 3"], check=False)
        assert (failed.returncode, failed.stderr) == (3, b"no\n")

        async with await anyio.open_process(["sleep", "60"]) as process:
            process.terminate()
            assert await process.wait() == -signal.SIGTERM

        with anyio.move_on_after(0.05) as scope:
            await anyio.run_process(["sleep", "60"])
        assert scope.cancelled_caught
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    run(main)


def test_memory_streams_hand_over_each_item_once() -> None:
    async def main() -> None:
        sender, receiver = anyio.create_memory_object_stream[int](3)
        received: list[int] = []

        async def send(own: MemoryObjectSendStream[int], start: int) -> None:
            async with own:
                for number in range(start, start + 100):
                    await own.send(number)

        async def receive(own: MemoryObjectReceiveStream[int]) -> None:
            async with own:
                async for number in own:
                    received.append(number)

        async with anyio.create_task_group() as group:
            for start in (0, 100, 200):
                group.start_soon(send, sender.clone(), start)
            for _ in range(4):
                group.start_soon(receive, receiver.clone())
            sender.close()
            receiver.close()
        assert sorted(received) == list(range(300))

    run(main)


def test_locks_limiters_and_conditions_are_fair() -> None:
    async def main() -> None:
        limiter, lock, inside, most = anyio.CapacityLimiter(3), anyio.Lock(), 0, 0
        order: list[int] = []

        async def enter() -> None:
            nonlocal inside, most
            async with limiter:
                inside += 1
                most = max(most, inside)
                await anyio.lowlevel.checkpoint()
                inside -= 1

        async def queue(number: int) -> None:
            async with lock:
                order.append(number)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(enter)
                group.start_soon(queue, number)
        assert most == 3
        assert order == list(range(12))

    run(main)


def test_anyio_runs_asyncio_code_and_the_other_way_round() -> None:
    async def main() -> Any:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "from a future")
        async with anyio.create_task_group() as group:
            task = asyncio.create_task(asyncio.sleep(0, "from a task"))
            group.start_soon(asyncio.sleep, 0)
            return await future, await task

    assert run(main) == ("from a future", "from a task")
