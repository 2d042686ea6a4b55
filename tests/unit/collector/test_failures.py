"""A failure leaves nothing for the collector where it leaves asyncio's nothing.

An exception's traceback leads to frames, and these to whatever is in their variables: a future in a frame that its own
exception has passed is a cycle, and everything that hangs on it stays until the collector comes.
"""

import asyncio
import gc
import warnings
from pathlib import Path

import pytest

import ferrio.asyncio
from frameworks.certificates import Certificates

from ..loops import LIMIT_S, ferrio_only
from .failures import FAILURES, Failure, World, turns

TIMES = 4


def garbage_of(failure: Failure, world: World) -> int:
    """Count the objects that the collector finds after *failure* has happened a few times."""

    async def main() -> int:
        async with asyncio.timeout(LIMIT_S * 2):
            for _ in range(2):
                await failure(world)
            await turns()
            gc.collect()
            gc.disable()
            try:
                for _ in range(TIMES):
                    await failure(world)
                await turns()
                return gc.collect()
            finally:
                gc.enable()

    return world.loop.run_until_complete(main())


@ferrio_only
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_leaves_no_more_garbage_than_asyncio(name: str, certificates: Certificates, tmp_path: Path) -> None:
    found = {}
    for aio, new_loop in ((asyncio, asyncio.SelectorEventLoop), (ferrio.asyncio, ferrio.new_event_loop)):
        with warnings.catch_warnings(), asyncio.Runner(loop_factory=new_loop) as runner:
            warnings.simplefilter("ignore")
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _loop, _context: None)
            found[aio.__name__] = garbage_of(FAILURES[name], World(loop, aio, certificates, tmp_path))
    # What asyncio's own code leaves is now a little more and now a little less.
    assert found["ferrio.asyncio"] <= found["asyncio"] * 1.1, found
