"""Questions about more log lines than one process should hold, asked of a Dask cluster that holds them together.

    python -m ferrio dask_cluster.py --sample 1024 /tmp/logs       # writes a GiB of sample logs there first
    python -m ferrio dask_cluster.py /tmp/logs --workers 4 --memory 512MiB

The files are read and parsed in blocks by worker processes and never pass through this one. The parsed lines stay with
the workers, which put on disk what goes beyond their share of memory, so that a second question reads nothing again.
The scheduler, the connections between all of them and each worker's side run on the loop that runs the program; Dask
starts workers by `spawn`, and what `python -m ferrio` has started has Ferrio in its children too. Needs dask and
distributed.
"""

import argparse
import asyncio
import random
import sys
import time
from operator import add
from pathlib import Path
from typing import Any

import dask
import dask.bag
from distributed import Client, LocalCluster

#: Bytes of a file that are read and parsed at once; as objects, lines take several times that.
BLOCK_BYTES = 4 * 2**20

Line = tuple[str, str, int, int]


def parse(text: str) -> Line | None:
    """Client, path, status and bytes of a line as web servers write it; none of another one."""
    try:
        client, rest = text.split(" ", 1)
        _, request, answer = rest.split('"', 2)
        status, size = answer.split()[:2]
        return client, request.split()[1], int(status), int(size)
    except (ValueError, IndexError):
        return None


def path_of(line: Line) -> str:
    return line[1]


def add_bytes(total: int, line: Line) -> int:
    return total + line[3]


def write_sample(file: Path, size: int, seed: int) -> int:
    """Write about *size* bytes of log lines; returns their number."""
    chance = random.Random(seed)
    written = lines = 0
    with file.open("w") as log:
        while written < size:
            client = f"192.0.2.{chance.randrange(256)}"
            path = f"/items/{min(int(chance.expovariate(0.01)), 999)}"
            status = chance.choices((200, 304, 404, 500), (90, 6, 3, 1))[0]
            when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(1_700_000_000 + lines))
            written += log.write(f'{client} - - [{when}] "GET {path} HTTP/1.1" {status} {chance.randrange(50_000)}\n')
            lines += 1
    return lines


async def loop_of_this_process() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


async def ask(client: Client, folder: Path) -> None:
    began = time.perf_counter()
    files = sorted(map(str, folder.glob("*.log")))
    parsed = dask.bag.read_text(files, blocksize=BLOCK_BYTES).map(parse)
    lines = client.persist(parsed.filter(lambda line: line is not None))
    by_status = lines.pluck(2).frequencies()
    by_path = lines.foldby(path_of, add_bytes, 0, add, 0).topk(5, key=1)
    for question, answer in (("lines by status", by_status), ("bytes by path, most first", by_path)):
        found: list[Any] = await client.compute(answer)
        print(f"{question}, after {time.perf_counter() - began:.1f} s", flush=True)
        for value, number in sorted(found, key=lambda each: -each[1]):
            print(f"  {value}: {number:,}", flush=True)


async def main(arguments: argparse.Namespace) -> None:
    workers = {"n_workers": arguments.workers, "threads_per_worker": 1, "memory_limit": arguments.memory}
    options = {"host": "127.0.0.1", "dashboard_address": None, "asynchronous": True}
    async with LocalCluster(**workers, **options) as cluster, Client(cluster, asynchronous=True) as client:
        loops = sorted((await client.run(loop_of_this_process)).values())
        print(f"scheduler on {await loop_of_this_process()}, workers on {', '.join(loops)}", flush=True)
        if arguments.sample:
            arguments.folder.mkdir(parents=True, exist_ok=True)
            count = max(arguments.workers, arguments.sample // 64)
            size = arguments.sample * 2**20 // count
            jobs = [
                client.submit(write_sample, arguments.folder / f"sample-{number:04}.log", size, number, pure=False)
                for number in range(count)
            ]
            print(f"wrote {sum(await client.gather(jobs)):,} lines", flush=True)
        await ask(client, arguments.folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the logs are: its files *.log")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--memory", default="512MiB", help="of each worker, before it goes to disk")
    parser.add_argument("--sample", type=int, default=0, metavar="MIB", help="write so much into the folder first")
    arguments = parser.parse_args()
    if not arguments.sample and not any(arguments.folder.glob("*.log")):
        sys.exit(f"{arguments.folder} has no *.log files; --sample 64 writes some")
    asyncio.run(main(arguments))
