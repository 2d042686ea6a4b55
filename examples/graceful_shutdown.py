"""A service that loses no request when it is told to stop.

    python -m ferrio examples/graceful_shutdown.py --port 8000 --grace 10
    kill -TERM PID

On SIGTERM or SIGINT it accepts no more connections, tells idle ones that it goes, lets requests in flight finish, and
cancels what is not done after `--grace` seconds. The exit status says which of the two happened: 0 or 1.

A request is a line with a number of seconds; the answer comes when they are over.
"""

import argparse
import asyncio
import contextlib
import signal
import sys


class Service:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = asyncio.Event()

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (line := await self._next_request(reader)) is not None:
                writer.write(await self._answer(line))
                await writer.drain()
            writer.write(b"goodbye\n")
        except (OSError, ValueError):
            # The peer has gone, or its line is too long.
            pass
        except asyncio.CancelledError:
            # Not raised on: this is the end of the task, and some releases of asyncio would report a cancelled one.
            writer.write(b"out of time\n")
        finally:
            writer.close()

    async def _next_request(self, reader: asyncio.StreamReader) -> bytes | None:
        """The next line; None at the end, or when the service stops before a line has come."""
        line = asyncio.ensure_future(reader.readline())
        stopping = asyncio.ensure_future(self._is_stopping.wait())
        try:
            await asyncio.wait([line, stopping], return_when=asyncio.FIRST_COMPLETED)
            return (line.result() or None) if line.done() else None
        finally:
            line.cancel()
            stopping.cancel()

    async def _answer(self, line: bytes) -> bytes:
        try:
            seconds = float(line)
        except ValueError:
            return b"what is wanted is a number of seconds\n"
        await asyncio.sleep(seconds)
        return f"slept for {seconds:g} s\n".encode()

    async def stop(self, grace: float) -> bool:
        """Let what is being done finish. Returns whether all of it has within *grace* seconds."""
        self._is_stopping.set()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--grace", type=float, default=10.0, help="seconds for requests in flight")
    arguments = parser.parse_args()

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    service = Service()
    server = await asyncio.start_server(service.serve_client, arguments.host, arguments.port)
    print(f"listening on {arguments.host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await told.wait()
    # A second signal ends the program at once.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
    server.close()
    return 0 if await service.stop(arguments.grace) else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
