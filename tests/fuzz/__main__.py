"""Random sequences of calls over every native type, with hostile arguments, each seed in a forked child.

    python tests/fuzz --seconds 120
    python tests/fuzz --seed 1234 --operations 1 --jobs 1     one batch again
    python tests/fuzz --only Task                             more of one type
    python tests/fuzz --loop asyncio                          the control: the same on the standard library's loop

The exit status is 1 when a fault was found. Each fault's program is printed and kept in build/fuzz.
"""

import argparse
import gc
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--operations", type=int, default=0, help="stop after so many calls")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long (120 s when neither is given)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; drawn when not given")
    parser.add_argument(
        "--jobs", type=int, default=2 * len(os.sched_getaffinity(0)), help="children at a time; some wait"
    )
    parser.add_argument("--calls", type=int, default=60, help="calls in a seed's program")
    parser.add_argument("--only", default="", help="types whose name has this are constructed and called unbound")
    parser.add_argument(
        "--without", action="append", default=[], metavar="TEXT", help="draw no call or value with TEXT"
    )
    parser.add_argument("--loop", choices=["ferrio", "asyncio"], default=os.environ.get("FERRIO_TEST_LOOP") or "ferrio")
    parser.add_argument(
        "--growth", type=int, default=12, metavar="N", help="look for what is left in each Nth child; 0: never"
    )
    parser.add_argument("--shrink", type=float, default=40.0, metavar="SECONDS", help="how long to shorten a program")
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "build" / "fuzz")
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    os.environ["FERRIO_TEST_LOOP"] = options.loop
    from fuzz.calls import leave_out
    from fuzz.runner import Plan, Runner, Totals

    leave_out(options.without)

    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "little")
    seconds = options.seconds or (1e9 if options.operations else 120.0)
    plan = Plan(
        operations=options.operations or sys.maxsize,
        seconds=seconds,
        seed=seed,
        jobs=options.jobs,
        calls=options.calls,
        only=options.only,
        folder=options.folder,
        shrink_s=options.shrink,
        growth_share=options.growth,
    )
    build = "debug build" if hasattr(sys, "gettotalrefcount") else "optimised build"
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"fuzz: {options.loop} on CPython {version}, {build}, from seed {seed}, {plan.jobs} jobs", flush=True)
    started = shown = time.monotonic()
    terminal = sys.stderr.isatty()

    def line(totals: Totals) -> str:
        rate = totals.operations / (time.monotonic() - started or 1)
        faults = sum(totals.faults.values())
        return f"{totals.operations:,} calls, {rate:,.0f} a second, {totals.seeds:,} seeds, {faults} findings"

    def show(totals: Totals) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= (0.5 if terminal else 10):
            shown = now
            print(
                f"{chr(13) if terminal else ''}{line(totals):90}",
                end="" if terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    def tell(text: str) -> None:
        print(f"{chr(10) if terminal else ''}FAULT {text}", flush=True)

    # The children inherit what is here: their collections need not look through it.
    gc.collect()
    gc.freeze()
    totals = Runner(plan, show, tell).run()
    print(f"\n{'FAILED' if totals.faults else 'ok'}: {line(totals)}, {time.monotonic() - started:.0f} s")
    for fault, count in totals.faults.most_common():
        print(f"  {count:6}  {fault}")
    for fault, count in totals.own.most_common():
        print(f"  {count:6}  {fault}: so with asyncio's loop and types too, no fault of Ferrio's")
    for fault, count in totals.doubtful.most_common():
        print(f"  {count:6}  {fault}: not seen again, no fault by itself")
    return int(bool(totals.faults))


if __name__ == "__main__":
    sys.path[0] = str(HERE.parent)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # A seed means the same program in each run.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main(parse(sys.argv[1:])))
