"""Workers that share the jobs of a table: each is done once, also after a worker or the program has died.

    python -m ferrio examples/database_workers.py jobs.db --add "resize 1.png" --add "resize 2.png"
    python -m ferrio examples/database_workers.py jobs.db --workers 8

Needs aiosqlite. A job is taken in one statement, with the time until which it is the worker's: one whose worker has
died is free again then. One that fails is tried again, three times in all. The program ends when no job is left.
"""

import argparse
import asyncio
import time
from pathlib import Path

import aiosqlite

TRIES = 3
SECONDS_FOR_A_JOB = 60.0

TABLE = """
create table if not exists jobs (
    id integer primary key,
    work text not null,
    tries integer not null default 0,
    taken_until real not null default 0,
    result text
)
"""
TAKE = """
update jobs set tries = tries + 1, taken_until = :now + :seconds
where id = (select id from jobs where result is null and tries < :tries and taken_until < :now order by id limit 1)
returning id, work
"""


async def do(work: str) -> str:
    """The job itself; here a program of the shell's, which may run for as long as it likes."""
    process = await asyncio.create_subprocess_shell(work, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"{work!r} ended with {process.returncode}")
    return output.decode(errors="replace").strip()


async def take(database: aiosqlite.Connection) -> tuple[int, str] | None:
    values = {"now": time.time(), "seconds": SECONDS_FOR_A_JOB, "tries": TRIES}
    async with database.execute(TAKE, values) as cursor:
        row = await cursor.fetchone()
    await database.commit()
    return None if row is None else (row[0], row[1])


async def work(name: str, path: Path) -> None:
    # A connection for each worker, so that none is in another's transaction.
    async with aiosqlite.connect(path, timeout=30) as database:
        while (job := await take(database)) is not None:
            number, what = job
            try:
                async with asyncio.timeout(SECONDS_FOR_A_JOB):
                    result = await do(what)
            except (RuntimeError, TimeoutError, OSError) as error:
                print(f"{name}: job {number} failed: {error}", flush=True)
                await database.execute("update jobs set taken_until = 0 where id = ?", (number,))
            else:
                print(f"{name}: job {number} gave {result!r}", flush=True)
                await database.execute("update jobs set result = ? where id = ?", (result, number))
            await database.commit()


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("database", type=Path)
    parser.add_argument("--add", action="append", default=[], metavar="COMMAND", help="add a job, and work at none")
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    async with aiosqlite.connect(arguments.database) as database:
        await database.execute("pragma journal_mode = wal")
        await database.execute(TABLE)
        await database.executemany("insert into jobs (work) values (?)", [(work,) for work in arguments.add])
        await database.commit()
    if arguments.add:
        return
    async with asyncio.TaskGroup() as group:
        for number in range(arguments.workers):
            group.create_task(work(f"worker {number}", arguments.database))


if __name__ == "__main__":
    asyncio.run(main())
