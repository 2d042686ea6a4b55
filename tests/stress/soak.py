"""Opens and closes very many TCP connections on one loop, badly, and looks for anything that stayed behind.

    python tests/stress/soak.py --connections 200000

Server and clients share one loop; a second process adds clients that are plain blocking sockets. Each
connection has a number, and every byte on it is derived from that number and its direction, so a byte that
reaches a wrong peer is seen. Connections are chosen at random (``--seed``) among four client interfaces, four
server interfaces, what the server does, and how the client ends: orderly, half-closed, aborted, reset, timed
out, or cancelled at its n-th await.

Afterwards descriptors, watched descriptors, tasks, timers, objects of every type of the loop and of this program,
allocated blocks, the heap and resident memory are compared with the same counts after a warm-up. The exit
status is 1 after growth beyond an allowance, a wrong byte, a missing answer, a connection that hangs, a
report to the loop's exception handler (`soaking/close_waiters.py` has the one exception), or a ResourceWarning.

The loop is Ferrio's; with ``FERRIO_TEST_LOOP=asyncio`` it is the standard library's, as a control.

Listeners are spread over addresses 127.0.0.1 - 127.0.0.16: a closed connection keeps its pair of addresses
and ports for a minute (TIME_WAIT), and one listener has only 28,000 pairs.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from soaking.clients import connect_once
from soaking.close_waiters import is_unread_close_waiter, mark_close_waiters
from soaking.plain_clients import main as plain_clients_main
from soaking.plain_clients import run_in_another_process
from soaking.plans import draw_plan
from soaking.remains import growth, print_table, snapshot
from soaking.servers import start_servers
from soaking.traffic import Tally

#: After the last connection, everything must be back to where it was within this time.
SETTLE_LIMIT_S = 10.0
#: More reports of unread close waiters than this are no accident of the collector's.
CLOSE_WAITERS_ALLOWED = 3
CLOSE_WAITERS = "close waiters that the collector met before their protocol"
#: One connection in this many comes from the process of plain sockets.
PLAIN_CLIENT_SHARE = 10


#: What ``--leave`` leaves behind on purpose, to see that it is noticed.
LEAVE: dict[str, Callable[[], object]] = {
    "descriptor": lambda: os.dup(0),
    "handle": lambda: asyncio.get_running_loop().call_later(3600, print),
    "task": lambda: asyncio.create_task(asyncio.Event().wait()),
    "memory": lambda: bytearray(256 * 1024),
}
left_behind: list[object] = []


class Progress:
    """How far the soak is and how long it will take: a line rewritten on a terminal, else one every 5 s."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def update(self, done: int) -> None:
        now = time.monotonic()
        if now - self._shown < (0.5 if self._terminal else 5) and done < self._total:
            return
        self._shown = now
        rate = done / (now - self._started or 1)
        left = (self._total - done) / rate if rate else 0
        text = f"{done:,} of {self._total:,} connections, {rate:,.0f} a second, {left:.0f} s left"
        end = "\n" if not self._terminal or done == self._total else ""
        print(f"{chr(13) if self._terminal else ''}{text:70}", end=end, file=sys.stderr, flush=True)


async def soak(
    numbers: range,
    addresses: list[tuple[str, int]],
    tally: Tally,
    arguments: argparse.Namespace,
    deadline: float,
) -> int:
    """Carry out the connections *numbers*; returns how many were made before *deadline*."""
    chance = random.Random(f"{arguments.seed} {numbers.start}")
    plain = len(numbers) // PLAIN_CLIENT_SHARE
    remaining = iter(numbers[plain:])
    done = 0
    progress = Progress(len(numbers) - plain)

    async def work() -> None:
        nonlocal done
        for number in remaining:
            await connect_once(draw_plan(number, addresses, chance), tally)
            if arguments.leave is not None and done % 10 == 0:
                left_behind.append(LEAVE[arguments.leave]())
            done += 1
            progress.update(done)
            if time.monotonic() > deadline:
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(run_in_another_process(plain, arguments.seed + numbers.start, addresses, tally))
        for _ in range(arguments.concurrency):
            group.create_task(work())
    return done + plain


async def settle(tally: Tally, tasks: int) -> None:
    """Wait until every connection that was accepted is gone again, and every task but *tasks*."""
    limit = time.monotonic() + SETTLE_LIMIT_S
    while (tally.opened != tally.closed or len(asyncio.all_tasks()) > tasks) and time.monotonic() < limit:
        await asyncio.sleep(0.05)
    # What the last turn still holds is let go of in the next.
    for _ in range(5):
        await asyncio.sleep(0)
    if tally.opened != tally.closed:
        tally.fail(f"server: {tally.opened} connections opened, {tally.closed} closed")


async def main(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    module = type(loop).__module__
    kind = f"{module}.{type(loop).__qualname__}"
    if module.partition(".")[0] not in (arguments.loop, f"_{arguments.loop}"):
        print(f"soak: {kind} is running, not {arguments.loop}'s loop", file=sys.stderr)
        return 2
    tally = Tally()

    def on_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if is_unread_close_waiter(context) and tally.counts[CLOSE_WAITERS] < CLOSE_WAITERS_ALLOWED:
            tally.counts[CLOSE_WAITERS] += 1
        else:
            tally.fail(f"exception handler: {context['message']}: {context.get('exception')!r}")

    def on_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
        tally.fail(f"{category.__name__}: {message}")

    mark_close_waiters()
    loop.set_exception_handler(on_unhandled)
    warnings.simplefilter("always", ResourceWarning)
    warnings.showwarning = on_warning  # type: ignore[assignment]

    started = time.monotonic()
    deadline = started + arguments.seconds
    tasks_before = len(asyncio.all_tasks())
    addresses, stop_servers = await start_servers(tally, random.Random(arguments.seed))
    tasks = len(asyncio.all_tasks())
    warm_up = range(1, arguments.warm_up + 1)
    numbers = range(warm_up.stop, warm_up.stop + arguments.connections)
    await soak(warm_up, addresses, tally, arguments, deadline)
    await settle(tally, tasks)
    before = snapshot()
    opened_before = tally.opened
    done = await soak(numbers, addresses, tally, arguments, deadline)
    await settle(tally, tasks)
    after = snapshot()
    seconds = time.monotonic() - started
    await stop_servers()
    if len(asyncio.all_tasks()) > tasks_before:
        tally.fail(f"{len(asyncio.all_tasks()) - tasks_before} tasks remain after the servers")

    print_table(before, after)
    print("\nhow connections ended, warm-up included:")
    for name, count in sorted(tally.counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {count:10,}  {name}")
    grown = growth(before, after)
    for failure in tally.failures[:20]:
        print(f"FAILED {failure}")
    if len(tally.failures) > 20:
        print(f"FAILED ... {len(tally.failures) - 20} more")
    for name, by in grown.items():
        print(f"FAILED {name} grew by {by:,}")
    stopped = "" if done >= arguments.connections else f", stopped by --seconds {arguments.seconds:g}"
    failed = bool(grown or tally.failures)
    print(
        f"\n{'FAILED' if failed else 'ok'}: {done:,} connections after {len(warm_up):,} of warm-up, "
        f"{tally.opened - opened_before:,} accepted, {seconds:.0f} s, {kind}, seed {arguments.seed}{stopped}"
    )
    return int(failed)


def new_event_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "asyncio":
        return asyncio.new_event_loop()
    import ferrio

    return ferrio.new_event_loop()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=600, help="stop opening connections after this time")
    parser.add_argument("--concurrency", type=int, default=200, help="clients of the loop at once")
    parser.add_argument("--warm-up", type=int, default=2_000, help="connections before the first count")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--leave", choices=sorted(LEAVE), help="leave this behind on purpose, now and then")
    parser.add_argument("--plain-clients", type=json.loads, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    parsed.loop = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
    return parsed


if __name__ == "__main__":
    arguments = parse(sys.argv[1:])
    if arguments.plain_clients is not None:
        plain_clients_main(arguments.plain_clients)
        sys.exit(0)
    with asyncio.Runner(loop_factory=lambda: new_event_loop(arguments.loop)) as runner:
        sys.exit(runner.run(main(arguments)))
