"""Clients that are blocking sockets in threads of another process: nothing of a loop is on their side."""

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .traffic import HELLO, TO_CLIENT, TO_SERVER, Mode, Tally, reset_on_close, tagged

THREADS = 8
LIMIT_S = 60.0
ENDS = ["orderly", "orderly", "half-close", "reset", "unread answer", "no hello", "half a hello"]
PROGRAM = Path(__file__).parents[1] / "soak.py"
#: Numbers from here on, so that no client on the loop has the same.
FIRST_NUMBER = 1 << 40


def run_plain_clients(count: int, seed: int, addresses: list[tuple[str, int]]) -> Tally:
    """*count* connections from threads with blocking sockets."""
    numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + count))
    lock = threading.Lock()
    total = Tally()

    def work(index: int) -> None:
        chance = random.Random(f"{seed} {index}")
        tally = Tally()
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            try:
                plain_client(number, chance, addresses, tally)
            except OSError as error:
                tally.counts[f"plain: {type(error).__name__}"] += 1
                if isinstance(error, TimeoutError):
                    tally.fail(f"plain client: connection {number} hung")
        with lock:
            total.counts += tally.counts
            total.failures += tally.failures

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def plain_client(number: int, chance: random.Random, addresses: list[tuple[str, int]], tally: Tally) -> None:
    end = chance.choice(ENDS)
    size = chance.randrange(1, 8192)
    with socket.create_connection(chance.choice(addresses), LIMIT_S) as connection:
        tally.counts[f"plain: {end}"] += 1
        if end == "no hello":
            return
        hello = HELLO.pack(number, size, Mode.ANSWER)
        if end == "half a hello":
            connection.sendall(hello[: chance.randrange(1, len(hello))])
            return
        connection.sendall(hello + tagged(number, TO_SERVER, size))
        if end == "half-close":
            connection.shutdown(socket.SHUT_WR)
        elif end == "reset":
            reset_on_close(connection)
            return
        elif end == "unread answer":
            # Closing with bytes unread sends RST as well, but only after the server has answered.
            connection.recv(1, socket.MSG_PEEK)
            return
        received = 0
        while (end == "half-close" or received < size) and (data := connection.recv(65536)):
            if data != tagged(number, TO_CLIENT, len(data), received):
                tally.fail(f"plain client: wrong bytes on connection {number}")
            received += len(data)


def main(request: dict[str, Any]) -> None:
    """What the other process does: carry out *request* and write what was seen to stdout."""
    addresses = [(host, port) for host, port in request["addresses"]]
    seen = run_plain_clients(request["count"], request["seed"], addresses)
    json.dump(vars(seen), sys.stdout)


async def run_in_another_process(count: int, seed: int, addresses: list[tuple[str, int]], tally: Tally) -> None:
    """Run *count* plain clients in a process of their own and add what they saw to *tally*."""
    request = json.dumps({"count": count, "seed": seed, "addresses": addresses})
    command = [sys.executable, str(PROGRAM), "--plain-clients", request]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            output, _ = await asyncio.to_thread(process.communicate)
        except asyncio.CancelledError:
            process.kill()
            raise
    if process.returncode:
        tally.fail(f"the process of plain clients ended with status {process.returncode}")
        return
    seen = json.loads(output)
    tally.counts.update(seen["counts"])
    tally.failures += seen["failures"]
