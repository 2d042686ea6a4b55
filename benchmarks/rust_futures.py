"""What awaiting a Rust future costs, and waking one: `ferrio-pyo3` on each loop, `pyo3-async-runtimes` on tokio.

    python benchmarks/rust_futures.py [--rounds N] [--loops ferrio,asyncio,uvloop] [--counts 100,1000,10000]

Both extensions are built for the interpreter that runs this. Every round does each thing on each loop, in turn; a
figure is the median of the rounds, in nanoseconds of the process's CPU time for one await: of all its threads, so that
what another thread spends is in it. ``--counts`` are the awaits of a round: what costs the same whatever their number
is no cache's merit.

- ``ready``: awaiting a future that is ready. ``python``: ``loop.create_future()`` with a result, made, awaited.
- ``own thread``: a future that waits is woken by a callback of its own loop, less the callback and an await of one that
  is ready: with the task's suspension and its resumption. ``python``: a future of the loop's is given its result by
  that callback.
- ``other thread``: a task asks a thread, which wakes it. One at a time both threads sleep in between, so the figure has
  the kernel's time for waking two threads in it. A hundred tasks at a time, which are woken together, show what a
  wake-up costs; less what as many tasks cost that await a future which is ready. ``python``: the same with
  ``call_soon_threadsafe``.
"""

import argparse
import asyncio
import importlib.util
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = (
    Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")) / "rust-futures" / sys.implementation.cache_tag
)
AT_A_TIME = 100


def extension(name: str) -> ModuleType:
    """Builds one of the extensions, and imports it."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", TARGET]
    environment = os.environ | {"PYO3_PYTHON": sys.executable}
    subprocess.run(command, cwd=HERE / "rust_futures" / name, env=environment, check=True)
    spec = importlib.util.spec_from_file_location(f"futures_on_{name}", TARGET / "release" / f"libfutures_on_{name}.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loops(names: list[str]) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    made: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {}
    for name in names:
        match name:
            case "ferrio":
                import ferrio

                made[name] = ferrio.new_event_loop
            case "asyncio":
                made[name] = asyncio.SelectorEventLoop
            case "uvloop":
                import uvloop  # type: ignore[import-untyped]

                made[name] = uvloop.new_event_loop
            case _:
                raise SystemExit(f"no loop is called {name}")
    return made


class Thread:
    """A thread of Python's that wakes so many futures, once there are so many."""

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        self.loop, self.size = loop, size
        self.waiting: list[asyncio.Future[None]] = []
        self.requests: queue.SimpleQueue[list[asyncio.Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while (futures := self.requests.get()) is not None:
            for future in futures:
                self.loop.call_soon_threadsafe(future.set_result, None)

    def hop(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self.loop.create_future()
        self.waiting.append(future)
        if len(self.waiting) == self.size:
            self.requests.put(self.waiting)
            self.waiting = []
        return future


async def cost(count: int, work: Callable[[], Awaitable[object]]) -> float:
    """Nanoseconds of CPU time for one of *count*."""
    before = time.process_time_ns()
    for _ in range(count):
        await work()
    return (time.process_time_ns() - before) / count


async def cost_at_a_time(count: int, hop: Callable[[], Awaitable[object]]) -> float:
    async def one() -> None:
        await hop()

    before = time.process_time_ns()
    for _ in range(max(1, count // AT_A_TIME)):
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(one())
    return (time.process_time_ns() - before) / (max(1, count // AT_A_TIME) * AT_A_TIME)


async def measured(count: int, rust: Any, tokio: Any) -> dict[str, float]:
    """Each thing once."""
    loop = asyncio.get_running_loop()
    pulse = rust.Pulse()
    threads = {size: Thread(loop, size) for size in (1, AT_A_TIME)}
    workers = {size: rust.Worker(size) for size in (1, AT_A_TIME)}

    async def nothing() -> None:
        pass

    async def python_ready() -> None:
        future = loop.create_future()
        future.set_result(None)
        await future

    async def rust_ready() -> None:
        await rust.ready(None)

    async def tokio_ready() -> None:
        await tokio.ready(None)

    async def python_woken() -> None:
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future

    async def rust_woken() -> None:
        loop.call_soon(pulse.set)
        await pulse.wait()

    def called() -> None:
        pass

    async def call() -> None:
        loop.call_soon(called)

    figures = {"coroutine": await cost(count, nothing)}
    for name, work in {
        "ready, python": python_ready,
        "ready, rust": rust_ready,
        "ready, tokio": tokio_ready,
        "woken, python": python_woken,
        "woken, rust": rust_woken,
        "callback": call,
    }.items():
        figures[name] = await cost(count, work) - figures["coroutine"]
    ready = {"python": python_ready, "rust": rust_ready, "tokio": nothing}
    for name, hops in {
        "python": [threads[1].hop, threads[AT_A_TIME].hop],
        "rust": [workers[1].hop, workers[AT_A_TIME].hop],
        "tokio": [tokio.hop, tokio.hop],
    }.items():
        figures[f"other thread, {name}"] = await cost(count, hops[0])
        woken = await cost_at_a_time(count, hops[1])
        figures[f"other thread, {AT_A_TIME} at a time, {name}"] = woken - await cost_at_a_time(count, ready[name])
    for thread in threads.values():
        thread.requests.put(None)
    figures["own thread, rust"] = figures["woken, rust"] - figures["ready, rust"] - figures["callback"]
    figures["own thread, python"] = figures["woken, python"] - figures["ready, python"] - figures["callback"]
    figures["ready, rust less python"] = figures["ready, rust"] - figures["ready, python"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--loops", default="ferrio,asyncio,uvloop")
    parser.add_argument("--counts", default="100,1000,10000")
    options = parser.parse_args()
    rust, tokio = extension("ferrio"), extension("tokio")
    makers = loops(options.loops.split(","))
    for count in map(int, options.counts.split(",")):
        rounds: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for name, make in makers.items():
                with asyncio.Runner(loop_factory=make) as runner:
                    for figure, value in runner.run(measured(count, rust, tokio)).items():
                        rounds.setdefault((figure, name), []).append(value)
        print(f"{count} awaits, ns each:")
        print(f"{'':40}" + "".join(f"{name:>10}" for name in makers))
        for figure in dict.fromkeys(figure for figure, _ in rounds):
            values = (statistics.median(rounds[figure, name]) for name in makers)
            print(f"{figure:40}" + "".join(f"{value:10.0f}" for value in values))


if __name__ == "__main__":
    main()
