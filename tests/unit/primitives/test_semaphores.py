"""The kinds of value that a semaphore can count with."""

import asyncio
import math

from ..loops import run
from .namespace import ours


def test_a_semaphore_may_count_in_other_numbers(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        for value in (math.inf, 2.0, 2**70, True):
            semaphore = ours.Semaphore(value)
            async with semaphore:
                assert not semaphore.locked() or value is True
                assert semaphore._value == value - 1
            semaphore.release()
            assert semaphore._value == value + 1

    run(loop, main())
