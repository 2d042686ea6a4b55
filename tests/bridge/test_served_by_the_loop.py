"""Timers and sockets of Rust futures, which each loop serves in its own way."""

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import ferrio
from ferrio.testing import VirtualClock

Loops = Callable[[], asyncio.AbstractEventLoop]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_pause_ends_no_sooner(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        # uvloop counts in milliseconds; asyncio ends a timer within the clock's resolution of its time.
        tolerance_s = 0.004 if type(loop).__module__.startswith("uvloop") else 1e-6
        for seconds in (0.0, 0.001, 0.02):
            before = loop.time()
            await kv_client.pause(seconds)
            assert loop.time() - before >= 2 * seconds - tolerance_s

    runner.run(main())


def test_many_pause_at_a_time(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        await asyncio.gather(*(kv_client.pause(n / 100_000) for n in range(1000)))

    runner.run(main())


def test_a_cancelled_pause_leaves_no_timer(kv_client: ModuleType, runner: asyncio.Runner, new_loop: Loops) -> None:
    async def main() -> None:
        for _ in range(300):
            tasks = [asyncio.create_task(kv_client.pause(1000.0)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            assert all(
                isinstance(each, asyncio.CancelledError)
                for each in await asyncio.gather(*tasks, return_exceptions=True)
            )

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    runner.run(main())
    before = objects()
    runner.run(main())
    # Loops keep some cancelled timers until there are more of them.
    assert objects() - before < 500


def test_a_pause_of_an_abandoned_loop_does_not_end(kv_client: ModuleType, new_loop: Loops) -> None:
    loop = new_loop()
    task = loop.create_task(kv_client.pause(0.001))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()


def test_a_virtual_clock_moves_pauses(kv_client: ModuleType) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(kv_client.pause(50.0), asyncio.sleep(10.0))
        return loop.time() - before

    start = time.monotonic()
    # The second half counts by the clock of the machine.
    task = ferrio.run(main(), clock=VirtualClock())
    assert 50.0 <= task <= 100.1
    assert time.monotonic() - start < 40


class Server(asyncio.Protocol):
    """A server that knows ``SET`` and ``GET``."""

    data: dict[bytes, bytes]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        lines = self.received.split(b"\r\n")
        if len(lines) < 2 or len(lines) < 2 + 2 * int(lines[0][1:]):
            return
        self.received = b""
        match lines[2::2]:
            case [b"SET", key, value]:
                self.data[key] = value
                self.transport.write(b"+OK\r\n")
            case [b"GET", key]:
                found = self.data.get(key)
                self.transport.write(b"$-1\r\n" if found is None else b"$%d\r\n%s\r\n" % (len(found), found))


def test_values_are_set_and_read(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        Server.data = {}
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        client = await kv_client.connect("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await client.get(b"key") is None
        for size in (0, 10, 1000):
            assert await client.set(b"key", bytes(size)) == b"OK"
            assert await client.get(b"key") == bytes(size)
        client.close()
        with pytest.raises(ConnectionError):
            await client.get(b"key")
        server.close()

    runner.run(main())


def test_a_request_cancelled_at_each_await_closes_its_socket(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        Server.data = {}
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def request() -> None:
            client = await kv_client.connect("127.0.0.1", port)
            await client.set(b"key", b"value")
            await client.get(b"key")
            client.close()

        finished = cancelled = 0
        for turns in range(200):
            task = asyncio.create_task(request())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                finished += 1
            except asyncio.CancelledError:
                cancelled += 1
            if finished == 3:
                break
        assert finished
        assert cancelled
        server.close()

    runner.run(asyncio.sleep(0))
    before = descriptors()
    runner.run(main())
    gc.collect()
    # The loop's own descriptor for other threads is one. What the server has accepted ends with its next turns.
    deadline = time.monotonic() + 30
    while descriptors() > before + 1 and time.monotonic() < deadline:
        runner.run(asyncio.sleep(0.01))
    assert descriptors() <= before + 1


async def echo_server() -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize("size", [0, 1000, 65_536, 20_000_000])
def test_both_directions_at_a_time(kv_client: ModuleType, runner: asyncio.Runner, size: int) -> None:
    data = os.urandom(1000) * (size // 1000)

    async def main() -> None:
        server = await echo_server()
        port = server.sockets[0].getsockname()[1]
        assert await kv_client.round_trip("127.0.0.1", port, data) == data
        server.close()

    runner.run(main())


def test_a_name_is_looked_up_by_the_loop(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        server = await echo_server()
        port = server.sockets[0].getsockname()[1]
        assert await kv_client.round_trip("localhost", port, b"data") == b"data"
        with pytest.raises(socket.gaierror):
            await kv_client.round_trip("no-such-name.invalid", port, b"data")
        server.close()

    runner.run(main())


def test_errors_are_those_of_python(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(ConnectionRefusedError) as caught:
            await kv_client.round_trip("127.0.0.1", port, b"")
        assert caught.value.errno

    runner.run(main())


def test_round_trips_cancelled_at_each_await_leave_nothing(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    ends: set[str] = set()

    async def main(data: bytes) -> None:
        server = await echo_server()
        port = server.sockets[0].getsockname()[1]
        for turns in range(120):
            task = asyncio.create_task(kv_client.round_trip("127.0.0.1", port, data))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                ends.add(str(len(await task)))
            except asyncio.CancelledError:
                ends.add("cancelled")
        server.close()

    runner.run(asyncio.sleep(0))
    before = descriptors()
    for size in (10, 300_000):
        runner.run(main(bytes(size)))
    gc.collect()
    deadline = time.monotonic() + 30
    while descriptors() > before + 1 and time.monotonic() < deadline:
        runner.run(asyncio.sleep(0.01))
    assert descriptors() <= before + 1
    assert "cancelled" in ends


def test_a_connection_outlives_its_loop_and_says_so(kv_client: ModuleType, new_loop: Loops) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def connect() -> Any:
            return await kv_client.connect("127.0.0.1", port)

        async def ask(client: Any) -> None:
            await client.get(b"key")

        with asyncio.Runner(loop_factory=new_loop) as first:
            client = first.run(connect())
        with asyncio.Runner(loop_factory=new_loop) as second, pytest.raises(RuntimeError, match="Event loop is closed"):
            second.run(ask(client))
        client.close()
    # The exception's traceback has the client: it ends on the thread that made it.
    del client
    gc.collect()


def test_loops_in_several_threads_serve_their_own(kv_client: ModuleType, new_loop: Loops) -> None:
    results: list[bytes] = []

    async def main() -> bytes:
        server = await echo_server()
        port = server.sockets[0].getsockname()[1]
        await kv_client.pause(0.001)
        got: bytes = await kv_client.round_trip("127.0.0.1", port, bytes(100_000))
        server.close()
        return got

    def work() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            results.append(runner.run(main()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [bytes(100_000)] * 4
