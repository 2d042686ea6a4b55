"""A scheduler or a worker of Dask in a process of its own.

``dask_node.py scheduler`` or ``dask_node.py worker ADDRESS`` runs on the loop under test until SIGTERM, and prints the
loop's module and its own address.
"""

import asyncio
import signal
import sys

from distributed import Scheduler, Worker
from loop_under_test import new_event_loop


async def main(kind: str, *scheduler: str) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    if kind == "scheduler":
        node = Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0")
    else:
        node = Worker(*scheduler, host="127.0.0.1", nthreads=1, dashboard_address="127.0.0.1:0")
    async with node:
        print(f"{kind} on {type(loop).__module__} at {node.address}", flush=True)
        await ended.wait()
    print("closed", flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
