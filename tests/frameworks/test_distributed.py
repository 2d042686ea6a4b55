"""Dask's distributed: a scheduler, two workers and a client, on one loop and in processes of their own."""

import asyncio
import operator
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client, Event, Scheduler, Worker, get_worker, wait
from distributed.client import FutureCancelledError

from .loop_under_test import is_loop_under_test, run
from .server_process import ServerProcess


@pytest.fixture(autouse=True)
def _private_folder(tmp_path: Path) -> object:
    """Workers keep what they spill in the test's own folder."""
    with dask.config.set({"temporary_directory": str(tmp_path), "distributed.worker.memory.terminate": False}):
        yield


@asynccontextmanager
async def cluster() -> AsyncIterator[Client]:
    """Everything on the running loop; tasks run in the workers' threads."""
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    async with (
        Scheduler(port=0, **options) as scheduler,
        Worker(scheduler.address, nthreads=2, name="a", **options),
        Worker(scheduler.address, nthreads=2, name="b", **options),
        Client(scheduler.address, asynchronous=True) as client,
    ):
        yield client


def where(_: object = None) -> str:
    return str(get_worker().name)


async def compute_a_graph(client: Client, workers: list[str]) -> None:
    """A tree of sums whose leaves lie on different workers, so that its nodes fetch from the other."""
    leaves = [client.submit(operator.mul, n, n, workers=workers[n % 2], pure=False) for n in range(64)]
    level = leaves
    while len(level) > 1:
        level = [client.submit(operator.add, a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    assert await level[0] == sum(n * n for n in range(64))
    large = client.submit(bytes, 3_000_000, workers=workers[0])
    assert await client.submit(len, large, workers=workers[1]) == 3_000_000


async def see_failures(client: Client) -> None:
    """A failure comes to whoever waits for what depends on it, and what does not depend on it is computed."""
    failed = client.submit(operator.truediv, 1, 0)
    dependent = client.submit(operator.add, failed, 1)
    other = client.submit(operator.add, 1, 1)
    with pytest.raises(ZeroDivisionError):
        await dependent
    assert dependent.status == "error"
    assert await other == 2


def test_a_graph_over_two_workers_is_computed_on_one_loop() -> None:
    async def main() -> None:
        async with cluster() as client:
            await compute_a_graph(client, ["a", "b"])
            await see_failures(client)
            assert set(await client.gather(client.map(where, range(20), workers=["a", "b"], pure=False))) <= {"a", "b"}

    run(main)


def test_a_delayed_graph_is_computed_and_persisted_results_are_gathered() -> None:
    @dask.delayed
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    async def main() -> None:
        async with cluster() as client:
            squares = [dask.delayed(pow)(n, 2) for n in range(30)]
            assert await client.compute(total(squares)) == sum(n * n for n in range(30))
            futures = client.map(operator.neg, range(200))
            await wait(futures)
            assert await client.gather(futures) == [-n for n in range(200)]

    run(main)


def test_a_computation_that_is_cancelled_leaves_the_cluster_usable() -> None:
    async def main() -> None:
        async with cluster() as client:
            started, release = Event("started"), Event("release")

            def hold() -> str:
                Event("started").set()
                Event("release").wait(10)
                return "held"

            future = client.submit(hold)
            await started.wait(10)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await wait(future)
            await future.cancel()
            assert future.cancelled()
            with pytest.raises(FutureCancelledError):
                await future
            await release.set()
            assert await client.submit(operator.add, 1, 2) == 3

    run(main)


def test_a_graph_over_two_workers_is_computed_in_processes_and_survives_the_loss_of_one() -> None:
    def address(process: ServerProcess, kind: str) -> str:
        found = process.wait_for(rf"{kind} on (\S+) at (\S+)")
        assert is_loop_under_test(found[1])
        return found[2]

    async def main(scheduler: str, workers: list[str], lost: ServerProcess) -> None:
        async with Client(scheduler, asynchronous=True) as client:
            await client.wait_for_workers(2, timeout=15)
            await compute_a_graph(client, workers)
            await see_failures(client)
            pids = await client.run(os.getpid)
            assert len(set(pids.values())) == 2
            kept = client.submit(operator.add, 1, 1, workers=workers[1], allow_other_workers=True, pure=False)
            await wait(kept)
            lost.signal(signal.SIGKILL)
            await asyncio.to_thread(lost.wait_ended)
            # Its result was on the lost worker: it is computed again on the other.
            assert await client.submit(operator.add, kept, 1) == 3

    with ServerProcess(["dask_node.py", "scheduler"]) as scheduler:
        at = address(scheduler, "scheduler")
        with (
            ServerProcess(["dask_node.py", "worker", at]) as first,
            ServerProcess(["dask_node.py", "worker", at]) as second,
        ):
            workers = [address(process, "worker") for process in (first, second)]
            run(lambda: main(at, workers, second))
            first.signal(signal.SIGTERM)
            assert first.wait_ended() == 0, first.output
            first.wait_for("closed")
        scheduler.signal(signal.SIGTERM)
        assert scheduler.wait_ended() == 0, scheduler.output
