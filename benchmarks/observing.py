"""What it costs a loop to be watched (`ferrio.watch`) and to be measured (`loop.start_measuring`).

    python benchmarks/observing.py [--pairs N] [--check]

Rounds with and without alternate on one loop, and the processor's time of the whole process is read around each, so
the thread that watches counts. Of the ratios of neighbouring rounds the median is shown, with its standard error.
``--check`` fails if a watch costs a Protocol echo more than 1 %, or a step of a task more than 2 %, by more than twice
that error. On a machine that has other work the error is large: more pairs make it smaller.

``make instructions`` compares what other work does not move: the instructions of an echo and of a step, with a watch
and without.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import ferrio
import ferrio.asyncio
from micro import scheduling, waiting  # noqa: F401 - registers its cases
from micro.echoes import echo
from micro.registry import BENCHMARKS

#: A case, how many operations a round has, and what a watch may cost.
CASES = {"echo_protocol": (2_000, 1.01), "sleep_zero": (40_000, 1.02), "spawn": (10_000, 1.02)}


@contextmanager
def measuring(loop: ferrio.Loop, *, coroutines: bool) -> Iterator[None]:
    loop.start_measuring(coroutines=coroutines)
    yield
    loop.stop_measuring()


#: What is done to the loop, by name.
MODES: dict[str, Callable[[ferrio.Loop], AbstractContextManager[object]]] = {
    "nothing": lambda loop: nullcontext(),
    "watch, 1 s": lambda loop: ferrio.watch(loop, slow_s=1),
    "watch, 0.1 s": lambda loop: ferrio.watch(loop, slow_s=0.1),
    "watch, 0.01 s": lambda loop: ferrio.watch(loop, slow_s=0.01),
    "measured": lambda loop: measuring(loop, coroutines=False),
    "measured, coroutines too": lambda loop: measuring(loop, coroutines=True),
}


async def cost(loop: ferrio.Loop, case: str) -> float:
    """The processor's time of a round in seconds."""
    operations = CASES[case][0]
    before = time.process_time()
    if case == "echo_protocol":
        await echo(case, loop, operations)
    else:
        await BENCHMARKS[case].run(loop, operations)
    return time.process_time() - before


async def ratio(loop: ferrio.Loop, case: str, mode: str, pairs: int) -> tuple[float, float]:
    """The median of the ratios of neighbouring rounds, and its standard error."""
    ratios = []
    for pair in range(pairs + 1):
        found = {}
        # Each comes first as often as the other.
        for observed in (True, False) if pair % 2 else (False, True):
            with MODES[mode](loop) if observed else nullcontext():
                found[observed] = await cost(loop, case)
        # The first pair fills caches and free lists.
        ratios += [found[True] / found[False]] if pair else []
    return statistics.median(ratios), 1.25 * statistics.stdev(ratios) / len(ratios) ** 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of rounds for each figure")
    parser.add_argument("--check", action="store_true", help="fail where a watch costs more than it may")
    options = parser.parse_args()
    waiting.namespace = ferrio.asyncio
    # A machine with other work stalls the loop: that is not what is measured.
    logging.getLogger("ferrio.watch").disabled = True
    failed = []
    print(f"processor's time of an operation, in parts of that without; {options.pairs} pairs of rounds")
    for case, (_, limit) in CASES.items():
        for mode in MODES:
            with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
                loop = runner.get_loop()
                assert isinstance(loop, ferrio.Loop)
                found, error = runner.run(ratio(loop, case, mode, options.pairs))
            print(f"  {case:16} {mode:26} {found:6.3f}  +- {error:.3f}", flush=True)
            if options.check and mode.startswith("watch") and found - 2 * error > limit:
                failed.append(f"{case}, {mode}")
    if failed:
        print(f"more than a watch may cost: {'; '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
