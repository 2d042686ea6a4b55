"""The in-process benchmarks, by name."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

#: Runs a number of rounds on the running loop and returns what counts: nanoseconds, or bytes.
Run = Callable[[asyncio.AbstractEventLoop, int], Awaitable[int]]


class Benchmark(NamedTuple):
    """A measurement: its code, what one operation is, and how many of them a round holds."""

    run: Run
    operation: str
    per_round: int
    #: Another thread takes part, which has a core of its own.
    threaded: bool
    #: Of what it counts: ``ns`` or ``bytes``.
    unit: str
    #: A round takes seconds: a sample is one of them, and a quick run has none.
    is_long: bool = False


BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(
    operation: str, *, per_round: int = 1, threaded: bool = False, unit: str = "ns", is_long: bool = False
) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        BENCHMARKS[run.__name__] = Benchmark(run, operation, per_round, threaded, unit, is_long)
        return run

    return register
