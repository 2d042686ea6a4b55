"""aiosqlite (a thread that answers through ``call_soon_threadsafe``) and aiofiles (the default executor)."""

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path

import aiofiles
import aiofiles.os
import aiosqlite
import pytest

from .loop_under_test import run


def test_rows_written_by_many_tasks_are_all_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with aiosqlite.connect(tmp_path / "database") as database:
            await database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")

            async def insert(number: int) -> None:
                await database.execute("INSERT INTO t VALUES (?, ?)", (number, f"row {number}"))

            await asyncio.gather(*(insert(number) for number in range(500)))
            await database.commit()
            async with database.execute("SELECT * FROM t ORDER BY n") as cursor:
                rows = [tuple(row) async for row in cursor]
            assert rows == [(number, f"row {number}") for number in range(500)]
            with pytest.raises(sqlite3.IntegrityError):
                await insert(7)
            await database.rollback()

    run(main)


def test_connections_of_their_own_see_what_was_committed_and_not_what_was_undone(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            aiosqlite.connect(tmp_path / "database") as writer,
            aiosqlite.connect(tmp_path / "database") as reader,
        ):
            await writer.execute("CREATE TABLE t (n INTEGER)")
            await writer.execute("INSERT INTO t VALUES (1)")
            await writer.commit()
            await writer.execute("INSERT INTO t VALUES (2)")
            await writer.rollback()
            assert await reader.execute_fetchall("SELECT n FROM t") == [(1,)]

    run(main)


def test_a_cancelled_statement_leaves_a_usable_connection() -> None:
    async def main() -> None:
        async with aiosqlite.connect(":memory:") as database:
            count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) SELECT count(*) FROM c"
            for turns in range(6):
                task = asyncio.create_task(database.execute_fetchall(count, (20_000,)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                assert await database.execute_fetchall("SELECT ?", (turns,)) == [(turns,)]

    run(main)


def test_files_are_written_and_read_by_many_tasks(tmp_path: Path) -> None:
    async def main() -> None:
        async def copy(number: int) -> None:
            sent = random.Random(number).randbytes(100_000)
            path = tmp_path / f"{number}"
            async with aiofiles.open(path, "wb") as file:
                for start in range(0, len(sent), 30_000):
                    await file.write(sent[start : start + 30_000])
            async with aiofiles.open(path, "rb") as file:
                assert await file.read() == sent
            assert (await aiofiles.os.stat(path)).st_size == len(sent)
            await aiofiles.os.remove(path)

        await asyncio.gather(*(copy(number) for number in range(50)))
        assert await aiofiles.os.listdir(tmp_path) == []

    run(main)


def test_lines_come_one_by_one_and_errors_come_as_they_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with aiofiles.open(tmp_path / "lines", "w") as file:
            await file.writelines(f"line {number}\n" for number in range(300))
        async with aiofiles.open(tmp_path / "lines") as file:
            assert [line async for line in file] == [f"line {number}\n" for number in range(300)]
        with pytest.raises(FileNotFoundError):
            await aiofiles.os.stat(tmp_path / "missing")

    run(main)
