"""What one operation of a loop costs: callbacks, timers, tasks, futures, the executor, subprocesses, datagrams.

    python benchmarks/micro/scheduling.py --loop uvloop --benchmark call_soon [--seconds 0.2] [--cores 0]

Prints one line of JSON: nanoseconds per operation (or bytes), median, smallest and largest of the repeats. A repeat
runs as many rounds as fill ``--seconds``, counted by a warm-up of the same length; the collector stays on, as in a
program. Callbacks are ``noop``, a Python function without arguments, so the cost of one call is in every
figure that runs callbacks.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import queue
import random
import statistics
import sys
import threading
import time
from asyncio.subprocess import PIPE
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import loops
from micro import large_numbers, waiting  # noqa: F401 - registers its cases
from micro.registry import BENCHMARKS, Benchmark, Run, benchmark


def noop() -> None:
    pass


async def nothing() -> None:
    pass


@benchmark("one callback scheduled with call_soon and run, in bursts of 1,000", per_round=1_000)
async def call_soon(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    schedule = loop.call_soon
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        for _ in repeat(None, 1_000):
            schedule(noop)
        await asyncio.sleep(0)  # comes after the burst in the ready queue
    return perf_counter_ns() - begin


@benchmark(
    "one callback scheduled with call_soon_threadsafe on the loop's own thread and run, in bursts of 1,000",
    per_round=1_000,
)
async def call_soon_threadsafe(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    schedule = loop.call_soon_threadsafe
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        # A loop may hold these in a queue of their own, so only the burst's own end shows that it has run.
        done = loop.create_future()
        for _ in repeat(None, 999):
            schedule(noop)
        schedule(done.set_result, None)
        await done
    return perf_counter_ns() - begin


@benchmark(
    "one callback scheduled with call_soon_threadsafe by another thread and run, in bursts of 10,000",
    per_round=10_000,
    threaded=True,
)
async def call_soon_from_thread(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    schedule = loop.call_soon_threadsafe
    bursts: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()

    def post() -> None:
        while (done := bursts.get()) is not None:
            for _ in repeat(None, 9_999):
                schedule(noop)
            schedule(done.set_result, None)

    thread = threading.Thread(target=post)
    thread.start()
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        done = loop.create_future()
        bursts.put(done)
        await done
    elapsed = perf_counter_ns() - begin
    bursts.put(None)
    thread.join()
    return elapsed


@benchmark(
    "one call_later a minute ahead, cancelled at once, in bursts of 1,000 with a turn of the loop after each",
    per_round=1_000,
)
async def call_later_cancel(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    schedule = loop.call_later
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        for _ in repeat(None, 1_000):
            schedule(60.0, noop).cancel()
        await asyncio.sleep(0)  # the turn in which a loop tidies up
    return perf_counter_ns() - begin


@benchmark(
    "one timer of 10,000 with unordered deadlines: call_at, and firing once all are due; waiting not counted",
    per_round=10_000,
)
async def call_at_fire(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    spread_s = 0.01
    unordered = random.Random(1)
    offsets = [unordered.random() * spread_s for _ in range(9_999)]
    ahead_s = 0.05
    counted = 0
    while rounds > 0:
        fired = itertools.count()
        done = loop.create_future()
        call_at, fire = loop.call_at, fired.__next__
        begin = perf_counter_ns()
        base = loop.time() + ahead_s
        for offset in offsets:
            call_at(base + offset, fire)
        # 2 ms after every other, because some clocks tick in milliseconds.
        call_at(base + spread_s + 0.002, done.set_result, None)
        inserted = perf_counter_ns() - begin
        late = loop.time() >= base
        while loop.time() < base + spread_s + 0.005:
            time.sleep(0.001)  # the loop must not run before all timers are due
        begin = perf_counter_ns()
        await done
        firing = perf_counter_ns() - begin
        if next(fired) != 9_999:
            raise RuntimeError("the last timer fired before some other")
        if late:
            ahead_s *= 2  # the first were due when they were set; some loops make no timer then
            continue
        counted += inserted + firing
        ahead_s = max(0.005, 3 * inserted / 1e9)
        rounds -= 1
    return counted


@benchmark("one create_task of an empty coroutine, and await of it")
async def spawn(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    create_task = loop.create_task
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        await create_task(nothing())
    return perf_counter_ns() - begin


@benchmark("one sleep(0) of a lone task: one turn of the loop")
async def sleep_zero(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    sleep = waiting.namespace.sleep
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        await sleep(0)
    return perf_counter_ns() - begin


@benchmark("one future made, awaited, and set by a callback of the next turn")
async def future_wake(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    create_future, schedule = loop.create_future, loop.call_soon
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        future = create_future()
        schedule(future.set_result, None)
        await future
    return perf_counter_ns() - begin


@benchmark("one child of gather over 100 empty coroutines", per_round=100)
async def gather_100(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    gather = waiting.namespace.gather
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        await gather(*[nothing() for _ in repeat(None, 100)])
    return perf_counter_ns() - begin


@benchmark("one run_in_executor of an empty function on the default executor, and await of it", threaded=True)
async def executor_roundtrip(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    submit = loop.run_in_executor
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        await submit(None, noop)
    return perf_counter_ns() - begin


@benchmark("one create_subprocess_exec of /bin/true without pipes, and wait for its end", threaded=True)
async def subprocess_spawn(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    create = asyncio.create_subprocess_exec
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        process = await create("/bin/true")
        await process.wait()
    return perf_counter_ns() - begin


async def through_cat(block: bytes, rounds: int) -> int:
    size = len(block)
    process = await asyncio.create_subprocess_exec("/bin/cat", stdin=PIPE, stdout=PIPE, limit=4 * size)
    assert process.stdin is not None
    assert process.stdout is not None
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        process.stdin.write(block)
        await process.stdin.drain()
        await process.stdout.readexactly(size)
    elapsed = perf_counter_ns() - begin
    process.stdin.close()
    await process.wait()
    return elapsed


@benchmark("100 bytes written to a /bin/cat and read back, streams", threaded=True)
async def subprocess_echo_100(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    return await through_cat(bytes(100), rounds)


@benchmark("64 KiB written to a /bin/cat and read back, streams", threaded=True)
async def subprocess_echo_64k(_loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    return await through_cat(bytes(64 * 1024), rounds)


class Datagrams(asyncio.DatagramProtocol):
    """Counts down the datagrams that come, and answers each, or none."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.missing = 0
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.answers:
            self.transport.sendto(data, addr)
            return
        self.missing -= 1
        if self.missing:
            self.next_round(data)
        elif self.done is not None:
            self.done.set_result(None)

    def next_round(self, data: bytes) -> None:
        pass


class PingPong(Datagrams):
    """Sends what comes again."""

    def next_round(self, data: bytes) -> None:
        self.transport.sendto(data)


@benchmark("one 64-byte datagram over UDP and back, one at a time, between two endpoints of the loop")
async def udp_ping_pong(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    echo, _ = await loop.create_datagram_endpoint(lambda: Datagrams(answers=True), local_addr=("127.0.0.1", 0))
    address = echo.get_extra_info("sockname")
    near, protocol = await loop.create_datagram_endpoint(lambda: PingPong(answers=False), remote_addr=address)
    protocol.missing, protocol.done = rounds, loop.create_future()
    begin = perf_counter_ns()
    near.sendto(bytes(64))
    await protocol.done
    elapsed = perf_counter_ns() - begin
    near.close()
    echo.close()
    await asyncio.sleep(0)
    return elapsed


@benchmark("one 64-byte datagram of 32 sent over UDP in a row, until the last is received", per_round=32)
async def udp_burst(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    far, protocol = await loop.create_datagram_endpoint(lambda: Datagrams(answers=False), local_addr=("127.0.0.1", 0))
    address = far.get_extra_info("sockname")
    near, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
    sendto, data = near.sendto, bytes(64)
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        protocol.missing, protocol.done = 32, loop.create_future()
        for _ in repeat(None, 32):
            sendto(data)
        await protocol.done
    elapsed = perf_counter_ns() - begin
    near.close()
    far.close()
    await asyncio.sleep(0)
    return elapsed


class Ending(asyncio.Protocol):
    """Says when its connection has ended."""

    def __init__(self, ended: asyncio.Future[None]) -> None:
        self.ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


#: The kernel keeps the addresses of an ended connection for a while. With so many of them for one listener it still
#: finds a free port at once.
CONNECTIONS_OF_A_LISTENER = 5_000


@benchmark("one TCP connection over the loopback device: connected, accepted, closed and ended at both sides")
async def connect_accept_close(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    counted = 0
    while rounds > 0:
        some = min(rounds, CONNECTIONS_OF_A_LISTENER)
        counted += await connect_some(loop, some)
        rounds -= some
    return counted


async def connect_some(loop: asyncio.AbstractEventLoop, rounds: int) -> int:
    theirs = ours = loop.create_future()
    server = await loop.create_server(lambda: Ending(theirs), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    begin = perf_counter_ns()
    for _ in repeat(None, rounds):
        theirs, ours = loop.create_future(), loop.create_future()
        transport, _ = await loop.create_connection(lambda: Ending(ours), *address)  # noqa: B023
        transport.close()
        await ours
        await theirs
    elapsed = perf_counter_ns() - begin
    server.close()
    return elapsed


async def rounds_that_fill(run: Run, seconds: float) -> int:
    """Warm up for about *seconds*; return the number of rounds that take as long."""
    loop = asyncio.get_running_loop()
    rounds, spent_ns = 1, 0
    while True:
        elapsed_ns = await run(loop, rounds)
        spent_ns += elapsed_ns
        if spent_ns >= seconds * 1e9:
            return max(1, round(rounds * seconds * 1e9 / elapsed_ns))
        rounds *= 2


async def measure(chosen: Benchmark, seconds: float, repeats: int) -> dict[str, float]:
    """Nanoseconds, or bytes, per operation: the median of the repeats, the smallest and the largest.

    ``cpu_ns`` is the median of what the process used.
    """
    loop = asyncio.get_running_loop()
    # Memory is measured once, and so is what takes seconds.
    is_once = chosen.unit == "bytes" or chosen.is_long
    rounds, repeats = (1, 1) if is_once else (await rounds_that_fill(chosen.run, seconds), repeats)
    figures, used = [], []
    operations = rounds * chosen.per_round
    for _ in range(repeats):
        gc.collect()
        begin = process_time_ns()
        figures.append(await chosen.run(loop, rounds) / operations)
        used.append((process_time_ns() - begin) / operations)
    return {
        chosen.unit: statistics.median(figures),
        f"{chosen.unit}_min": min(figures),
        f"{chosen.unit}_max": max(figures),
        "cpu_ns": statistics.median(used),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", required=True, choices=loops.NAMES)
    parser.add_argument("--benchmark", required=True, choices=BENCHMARKS)
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one repeat (0.2)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", help="run on these CPUs only: numbers with commas")
    options = parser.parse_args()
    if options.cores is not None:
        os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    chosen = BENCHMARKS[options.benchmark]
    waiting.namespace = loops.namespace(options.loop)
    with asyncio.Runner(loop_factory=lambda: loops.new_loop(options.loop)) as runner:
        figures = runner.run(measure(chosen, options.seconds, options.repeats))
    print(json.dumps({"loop": options.loop, "benchmark": options.benchmark, **figures}))


if __name__ == "__main__":
    main()
