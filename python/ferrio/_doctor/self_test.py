"""Tries what a loop does, each part on a new Ferrio loop: a few milliseconds for each, five seconds at most.

TLS is tried without certificates, by a cipher that has no need of any.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from .._running import run
from .finding import Finding, State

LIMIT_S = 5.0
PAYLOAD = bytes(range(256)) * 1024


class NotTried(Exception):
    """What a trial needs is not here."""


async def callbacks_and_timers() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    done = loop.create_future()
    start = loop.time()
    loop.call_later(0.01, done.set_result, None)
    loop.call_later(0.005, seen.append, "never").cancel()
    loop.call_soon(seen.append, "first")
    loop.call_soon(seen.append, "second")
    await done
    expect(seen == ["first", "second"], f"callbacks ran as {seen}")
    expect(loop.time() - start >= 0.01, "a timer was early")


async def tasks() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(100):
            await queue.put(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        found = [await queue.get() for _ in range(100)]
    expect(found == list(range(100)), "a queue lost its order")
    waiting = asyncio.ensure_future(asyncio.sleep(3600))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    expect(waiting.cancelled(), "a task was not cancelled")


async def other_threads() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set_result, threading.get_ident()))
    thread.start()
    expect(await done == threading.get_ident(), "a call from another thread came wrong")
    thread.join()
    expect(await asyncio.to_thread(threading.get_ident) != threading.get_ident(), "to_thread ran in the loop's")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def converse(server: asyncio.Server, **options: Any) -> asyncio.StreamWriter:
    async with server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address[:2], **options)
        writer.write(PAYLOAD)
        came = await reader.readexactly(len(PAYLOAD))
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        expect(came == PAYLOAD, "other bytes came back")
        return writer


async def tcp() -> None:
    await converse(await asyncio.start_server(echo, "127.0.0.1", 0))


async def tls() -> str | None:
    sides = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Both ends are this function: nobody has to prove who it is.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
        except ssl.SSLError as error:
            raise NotTried("this build of OpenSSL has no cipher without certificates") from error
        sides.append(context)
    server, client = sides
    writer = await converse(await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server), ssl=client)
    engine = writer.get_extra_info("ferrio_tls_engine")
    return f"the {engine} engine" if engine else None


async def udp() -> None:
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: Any) -> None:
            if not received.done():
                received.set_result(data)

    receiver, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    sender, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
    )
    try:
        sender.sendto(b"datagram")
        expect(await received == b"datagram", "another datagram came")
    finally:
        sender.close()
        receiver.close()


async def sockets() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        receiving = asyncio.ensure_future(loop.sock_recv(theirs, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, b"bytes")
        expect(await receiving == b"bytes", "other bytes came")


async def subprocesses() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", "print(input())", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(b"line\n")
    expect((process.returncode, output) == (0, b"line\n"), f"status {process.returncode}, output {output!r}")


async def signals() -> None:
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, came.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await came.wait()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


#: What a trial returns is said beside its success.
Trial = Callable[[], Coroutine[Any, Any, str | None]]

TRIALS: dict[str, Trial] = {
    "callbacks and timers": callbacks_and_timers,
    "tasks, a queue, a cancellation": tasks,
    "calls from other threads": other_threads,
    "TCP streams": tcp,
    "TLS streams": tls,
    "UDP": udp,
    "sock_recv and sock_sendall": sockets,
    "a subprocess": subprocesses,
    "a signal": signals,
}


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def findings() -> list[Finding]:
    return [trial(what, function) for what, function in TRIALS.items()]


def trial(what: str, function: Trial) -> Finding:
    """Run *function* on a loop of its own; whatever it raises is the finding."""

    async def limited() -> str | None:
        async with asyncio.timeout(LIMIT_S):
            return await function()

    try:
        detail = run(limited())
    except NotTried as error:
        return Finding(what, f"not tried: {error}")
    except Exception as error:
        text = "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        advice = "try it with FERRIO_NATIVE_TASKS=0, and report it with this output"
        return Finding(what, text, State.FAULT, advice)
    return Finding(what, f"works, {detail}" if detail else "works")
