"""A client on one event loop, in a closed loop: so many tasks, each with one request under way.

    python benchmarks/apps/clients.py --loop uvloop --client aiohttp --target http://127.0.0.1:8000/item/ --seconds 2

Prints one line of JSON: requests, seconds, and the CPU seconds of this process over the measured window.

The clients: ``aiohttp`` fetches pages whose body must hold the token that was asked for; ``asyncpg`` asks a PostgreSQL
server (``--target`` is its address as asyncpg takes it) for a row that must hold the number that was sent.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import loops

Ask = Callable[[int], Awaitable[None]]


class WrongAnswer(Exception):
    """An answer to another question."""


async def aiohttp_client(target: str, tasks: int, stack: AsyncExitStack) -> Ask:
    import aiohttp

    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=tasks)))

    async def ask(number: int) -> None:
        async with session.get(f"{target}n{number}") as response:
            page = await response.json()
            if page["token"] != f"n{number}":
                raise WrongAnswer(f"n{number} was asked for, {page['token']} came")

    return ask


async def asyncpg_client(target: str, tasks: int, stack: AsyncExitStack) -> Ask:
    import asyncpg

    pool = await stack.enter_async_context(asyncpg.create_pool(target, min_size=tasks, max_size=tasks))

    async def ask(number: int) -> None:
        async with pool.acquire() as connection:
            answer = await connection.fetchval("SELECT $1::int + 1", number)
            if answer != number + 1:
                raise WrongAnswer(f"{number + 1} was due, {answer} came")

    return ask


CLIENTS = {"aiohttp": aiohttp_client, "asyncpg": asyncpg_client}


async def measure(options: argparse.Namespace) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        ask = await CLIENTS[options.client](options.target, options.tasks, stack)
        state = {"done": 0, "stop": False}
        numbers = iter(range(1 << 30))

        async def worker() -> None:
            while not state["stop"]:
                await ask(next(numbers))
                state["done"] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(options.tasks):
                group.create_task(worker())
            await asyncio.sleep(options.warmup)
            before = state["done"], time.perf_counter(), time.process_time()
            await asyncio.sleep(options.seconds)
            after = state["done"], time.perf_counter(), time.process_time()
            state["stop"] = True
        requests, seconds, cpu_s = (end - begin for begin, end in zip(before, after, strict=True))
        return {"requests": requests, "seconds": seconds, "cpu_s": cpu_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, choices=(*loops.NAMES, loops.C_TASKS))
    parser.add_argument("--client", required=True, choices=CLIENTS)
    parser.add_argument("--target", required=True)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--core", type=int, help="run on this CPU only")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(options.loop)) as runner:
        print(json.dumps(runner.run(measure(options))))


if __name__ == "__main__":
    main()
