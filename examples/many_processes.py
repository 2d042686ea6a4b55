"""A service on all processors: a process with a loop of its own for each, and one port for all of them.

    python -m ferrio examples/many_processes.py --port 8000 --processes 4

Each process has a listening socket of its own on the same port (`SO_REUSEPORT`), among which the kernel spreads the
connections. A process that dies is replaced; on SIGTERM or SIGINT, or when the parent dies, all of them end.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket


def say(text: str) -> None:
    """Print a line in one piece: several processes write to the same file."""
    print(f"{text}\n", end="", flush=True)


def listening_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock


async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The end of the program cancels this task.
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while line := await reader.readline():
            writer.write(f"{os.getpid()} ".encode() + line)
            await writer.drain()
    writer.close()


async def serve(host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop, parent = asyncio.get_running_loop(), multiprocessing.parent_process()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if parent is not None:
        # Readable once the parent has ended, however that was.
        loop.add_reader(parent.sentinel, stopped.set)
    server = await asyncio.start_server(serve_client, sock=listening_socket(host, port))
    say(f"process {os.getpid()} listening")
    await stopped.wait()
    server.close()


def process(host: str, port: int) -> None:
    # Of a terminal's interrupt all processes are told; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(host, port))


async def ended(child: multiprocessing.process.BaseProcess) -> None:
    """Wait until *child* has ended."""
    loop, has_ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(child.sentinel, has_ended.set)
    try:
        await has_ended.wait()
    finally:
        loop.remove_reader(child.sentinel)


async def keep_alive(host: str, port: int) -> None:
    """Have one process, and another after its death, until cancelled."""
    # Made anew, not forked: a fork would share this loop's descriptors.
    spawn = multiprocessing.get_context("spawn")
    while True:
        child = spawn.Process(target=process, args=(host, port))
        child.start()
        try:
            await ended(child)
            await asyncio.to_thread(child.join)
            say(f"process {child.pid} ended with {child.exitcode}")
        finally:
            if child.is_alive():
                child.terminate()
            await asyncio.to_thread(child.join)
        await asyncio.sleep(0.1)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    # Keeps the port, so that 0 names the same one for all. It does not listen, so it gets no connections.
    with listening_socket(arguments.host, arguments.port) as kept:
        host, port = kept.getsockname()
        print(f"listening on {host}:{port}", flush=True)
        keepers = [asyncio.create_task(keep_alive(host, port)) for _ in range(arguments.processes)]
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
