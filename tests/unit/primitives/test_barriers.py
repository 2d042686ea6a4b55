"""Barriers: filling, opening, resetting, aborting."""

import asyncio
import asyncio as stdlib

import pytest

from ..loops import run
from .namespace import ours


def test_a_barrier_opens_for_all_at_once(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        barrier = ours.Barrier(3)
        tasks = [stdlib.create_task(barrier.wait()) for _ in range(2)]
        await stdlib.sleep(0)
        assert (barrier.n_waiting, barrier.parties, barrier.broken) == (2, 3, False)
        assert repr(barrier).endswith("[filling, waiters:2/3]>")
        for _ in range(3):
            async with barrier as place:
                assert place == 2
            assert await stdlib.gather(*tasks) == [0, 1]
            assert barrier.n_waiting == 0
            tasks = [stdlib.create_task(barrier.wait()) for _ in range(2)]
            await stdlib.sleep(0)
        for task in tasks:
            task.cancel()

    run(loop, main())


def test_a_barrier_is_reset_and_aborted(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        barrier = ours.Barrier(2)
        task = stdlib.create_task(barrier.wait())
        await stdlib.sleep(0)
        await barrier.reset()
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
            await task
        task = stdlib.create_task(barrier.wait())
        await stdlib.sleep(0)
        await barrier.abort()
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
            await task
        assert barrier.broken
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Barrier aborted$"):
            await barrier.wait()
        assert not barrier._cond.locked()

    run(loop, main())


@pytest.mark.parametrize("parties", [2, 2.0])
def test_a_barrier_may_count_in_other_numbers(loop: asyncio.AbstractEventLoop, parties: float) -> None:
    async def main() -> list[int]:
        barrier = ours.Barrier(parties)
        return await stdlib.gather(barrier.wait(), barrier.wait())

    assert sorted(run(loop, main())) == [0, 1]


def test_a_barrier_takes_another_condition(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[int]:
        barrier = ours.Barrier(2)
        barrier._cond = stdlib.Condition()
        return await stdlib.gather(barrier.wait(), barrier.wait())

    assert sorted(run(loop, main())) == [0, 1]


def test_a_barrier_needs_somebody() -> None:
    with pytest.raises(ValueError, match="parties must be"):
        ours.Barrier(0)
