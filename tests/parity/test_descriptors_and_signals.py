"""Watched descriptors, socket methods, signals, pipes, datagrams, subprocesses."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from typing import Any

import pytest

from .conftest import Play
from .observation import Diary
from .protocols import turns


def test_readers_and_writers(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        diary.count_turns()
        loop.add_reader(ours, lambda: diary("read", ours.recv(1)))
        theirs.send(b"abc")
        await turns(2)
        loop.add_writer(ours, diary, "writable")
        await turns(1)
        loop.add_reader(ours, lambda: diary("replaced", ours.recv(1)))
        await turns(2)
        diary("removed", loop.remove_writer(ours), loop.remove_writer(ours))
        theirs.close()
        await turns(2)
        diary("removed", loop.remove_reader(ours), loop.remove_reader(ours))
        await turns(2)
        ours.close()

    scenario_in_both_modes(play)


def test_a_reader_that_is_changed_in_the_turn_in_which_it_is_ready(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        diary.count_turns()
        loop.add_reader(ours, diary, "removed reader")
        loop.call_soon(loop.remove_reader, ours)
        await turns(2)
        loop.add_reader(ours, diary, "replaced reader")
        loop.call_soon(loop.add_reader, ours, diary, "second reader")
        await turns(3)
        loop.remove_reader(ours)
        loop.add_reader(ours, lambda: 1 // 0)
        await turns(2)
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    scenario(play)


def test_files_that_cannot_be_watched(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        closed = socket.socket()
        closed.close()
        with tempfile.TemporaryFile() as regular:
            for name, file in {
                "regular": regular,
                "closed": closed,
                "never open": 99_999,
                "negative": -1,
                "text": "text",
                "None": None,
            }.items():
                for method in ("add_reader", "add_writer"):
                    with diary.raises(method, name):
                        getattr(loop, method)(file, print)

    scenario(play)


def test_the_socket_methods(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop = diary.loop
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            served, address = await accepting
            diary("accepted", address, served.getblocking())
            await loop.sock_sendall(client, b"x" * 100_000)
            received, buffer = 0, bytearray(5000)
            while received < 100_000:
                received += await loop.sock_recv_into(served, buffer)
            diary("received", received)
            waiting = asyncio.ensure_future(loop.sock_recv(served, 10))
            await turns(2)
            waiting.cancel()
            with diary.raises("cancelled"):
                await waiting
            client.shutdown(socket.SHUT_WR)
            diary("end", await loop.sock_recv(served, 10))
            blocking = socket.socket()
            for method, args in {
                "sock_recv": (1,),
                "sock_sendall": (b"",),
                "sock_connect": (("127.0.0.1", 1),),
            }.items():
                with diary.raises(f"{method} of a blocking socket"):
                    await getattr(loop, method)(blocking, *args)
            blocking.close()
            served.close()
        with diary.raises("closed"):
            await loop.sock_recv(client, 1)

    scenario_in_both_modes(play)


@pytest.mark.filterwarnings("ignore")
def test_signals(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, diary, "signal", number.name)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.03)
        loop.add_signal_handler(signal.SIGUSR1, lambda: 1 // 0)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.03)
        diary("removed", loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1))
        for number in (0, -1, 10**6, "text", None, signal.SIGKILL):
            with diary.raises("add", str(number)):
                loop.add_signal_handler(number, print)
            with diary.raises("remove", str(number)):
                loop.remove_signal_handler(number)

        async def coroutine() -> None:
            pass

        with diary.raises("a coroutine"):
            loop.add_signal_handler(signal.SIGUSR1, coroutine)
        with diary.raises("a thread"):
            await asyncio.to_thread(loop.add_signal_handler, signal.SIGUSR1, print)
        diary("removed", loop.remove_signal_handler(signal.SIGUSR2))
        diary("default", signal.getsignal(signal.SIGUSR2))

    scenario_in_both_modes(play)
    assert signal.set_wakeup_fd(-1) == -1


def test_an_interrupt_in_a_callback(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        diary.loop.call_soon(diary, "before")
        diary.loop.call_soon(signal.raise_signal, signal.SIGINT)
        diary.loop.call_soon(diary, "after")
        try:
            await asyncio.sleep(0.005)
        finally:
            diary("main ended")

    seen = scenario(play)
    assert seen.raised["type"] == "KeyboardInterrupt"


def test_pipes(scenario_in_both_modes: Play) -> None:
    class Reading(asyncio.Protocol):
        def __init__(self, diary: Diary) -> None:
            self.diary, self.over = diary, diary.loop.create_future()

        def connection_made(self, transport: Any) -> None:
            self.diary("made", transport.is_closing())

        def data_received(self, data: bytes) -> None:
            self.diary("data", data)

        def eof_received(self) -> None:
            self.diary("eof")

        def connection_lost(self, exc: Exception | None) -> None:
            self.diary("lost", exc)
            self.over.set_result(None)

    async def play(diary: Diary) -> None:
        reading, writing = os.pipe()
        reader = Reading(diary)
        writer = Reading(diary)
        await diary.loop.connect_read_pipe(lambda: reader, os.fdopen(reading, "rb", 0))
        transport, _ = await diary.loop.connect_write_pipe(lambda: writer, os.fdopen(writing, "wb", 0))
        transport.write(b"hello")
        await asyncio.sleep(0.03)
        transport.write_eof()
        await reader.over
        await writer.over
        with tempfile.TemporaryFile() as file, diary.raises("a regular file"):
            await diary.loop.connect_read_pipe(lambda: reader, file)

    scenario_in_both_modes(play)


def test_datagrams(scenario_in_both_modes: Play) -> None:
    class Datagrams(asyncio.DatagramProtocol):
        def __init__(self, diary: Diary, name: str) -> None:
            self.diary, self.name, self.over = diary, name, diary.loop.create_future()

        def connection_made(self, transport: Any) -> None:
            self.diary(self.name, "made")
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.diary(self.name, "datagram", data, addr)
            if data != b"answer":
                self.transport.sendto(b"answer", addr)

        def error_received(self, exc: Exception) -> None:
            self.diary(self.name, "error", exc)

        def connection_lost(self, exc: Exception | None) -> None:
            self.diary(self.name, "lost", exc)
            self.over.set_result(None)

    async def play(diary: Diary) -> None:
        loop = diary.loop
        served, client = Datagrams(diary, "server"), Datagrams(diary, "client")
        transport, _ = await loop.create_datagram_endpoint(lambda: served, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        connected, _ = await loop.create_datagram_endpoint(lambda: client, remote_addr=address)
        connected.sendto(b"hello")
        connected.sendto(b"")
        await asyncio.sleep(0.03)
        with diary.raises("text"):
            connected.sendto("text")  # type: ignore[arg-type]
        with diary.raises("another address"):
            connected.sendto(b"x", ("127.0.0.1", 1))
        transport.close()
        await served.over
        connected.sendto(b"nobody")
        await asyncio.sleep(0.03)
        connected.sendto(b"nobody")
        await asyncio.sleep(0.03)
        connected.abort()
        await client.over

    scenario_in_both_modes(play)


def test_subprocesses(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
        diary("cat", *await process.communicate(b"through a pipe" * 10_000), process.returncode)
        process = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 3", stdout=pipe, stderr=pipe)
        diary("shell", *await process.communicate(), process.returncode)
        process = await asyncio.create_subprocess_exec("sleep", "30")
        process.terminate()
        diary("terminated", await process.wait())
        with diary.raises("missing"):
            await asyncio.create_subprocess_exec("/no/such/program")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import sys; sys.stdin.read(1)", stdin=pipe
        )
        assert process.stdin is not None
        process.stdin.write(b"x" * 10)
        process.stdin.close()
        diary("python", await process.wait())

    scenario(play)


def test_the_resolver(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        loop: Any = diary.loop
        for host, port, options in [
            ("127.0.0.1", 80, {}),
            ("::1", "80", {"type": socket.SOCK_STREAM}),
            ("localhost", 80, {"family": socket.AF_INET}),
            ("no-such-host.invalid", 80, {}),
            ("::1", 80, {"family": socket.AF_INET}),
            ("127.0.0.1", "no such service", {}),
            (1, 80, {}),
            ("127.0.0.1", [], {}),
            ("fe80::1%lo", 1, {"type": socket.SOCK_STREAM}),
            ("", 1, {"type": socket.SOCK_STREAM}),
            (None, 1, {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}),
        ]:
            with diary.raises("getaddrinfo", host, port):
                diary("found", await loop.getaddrinfo(host, port, **options))
        with diary.raises("getnameinfo"):
            flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            diary("name", await loop.getnameinfo(("127.0.0.1", 80), flags))

    scenario_in_both_modes(play)
