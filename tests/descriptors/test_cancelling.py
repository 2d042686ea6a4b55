"""Every operation, cancelled at each of its suspensions, leaves no descriptor and touches no other."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from frameworks.certificates import Certificates
from unit.loops import new_loop

from .cancelling import CancelledAt, Moment
from .operations import OPERATIONS, served
from .surroundings import Decoys, open_descriptors, until_open

#: Where asyncio leaves a socket to the collector when it is cancelled.
COLLECTED = {"connecting_with_happy_eyeballs"}

#: An operation that is suspended more often is cancelled at the first so many.
MOST = 40


async def cancel_everywhere(name: str, moment: Moment, certificates: Certificates) -> int:
    """Run an operation again and again, cancelled one suspension later each time; at how many it was."""
    async with served() as address:
        # What is opened once, for names and for threads, is no leak.
        await OPERATIONS[name](address, certificates)
        for _ in range(5):
            await asyncio.sleep(0.001)
        gc.collect()
        before = open_descriptors()
        for at in range(MOST):
            operation = CancelledAt(OPERATIONS[name](address, certificates), at, moment)

            async def run(operation: CancelledAt = operation) -> Any:
                return await operation

            # The exception is kept, and with it every frame: what these hold has to be closed, not only dropped.
            outcome = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
            # They take the numbers that are free by now; what is closed too late, or twice, hits them.
            decoys = Decoys()
            try:
                await until_open(before + 2 * Decoys.COUNT, collect=name in COLLECTED)
                decoys.check()
            finally:
                decoys.close()
            del outcome
            await until_open(before)
            if not operation.was_reached:
                return at
    return MOST


@pytest.mark.parametrize("moment", ["waiting", "served"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_cancelled_operation_leaves_no_descriptor_and_touches_no_other(
    name: str, moment: Moment, certificates: Certificates
) -> None:
    loop = new_loop()
    try:
        with warnings.catch_warnings():
            # asyncio's own way of closing what a program has not closed.
            warnings.simplefilter("ignore", ResourceWarning)
            assert loop.run_until_complete(cancel_everywhere(name, moment, certificates)) > 0
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
