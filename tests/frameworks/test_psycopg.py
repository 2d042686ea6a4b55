"""psycopg 3 against a real PostgreSQL: libpq's descriptor, watched with ``add_reader`` and ``add_writer``."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import psycopg_pool
import pytest

from .certificates import Certificates
from .loop_under_test import run
from .servers.postgresql import PostgreSQL

AsyncConnection = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture(params=["tcp", "tls", "unix"])
def conninfo(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, certificates: Certificates) -> str:
    server = postgresql_server
    host = server.socket_folder if request.param == "unix" else "127.0.0.1"
    where = f"host={host} port={server.port} user={server.user} dbname={server.database}"
    if request.param == "tls":
        return f"{where} sslmode=verify-full sslrootcert={certificates.authority_file}"
    return f"{where} sslmode=disable"


@asynccontextmanager
async def connect(conninfo: str) -> AsyncIterator[AsyncConnection]:
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()


async def value(connection: AsyncConnection, query: str, *arguments: object) -> object:
    row = await (await connection.execute(query, arguments or None)).fetchone()
    assert row is not None
    return row[0]


async def wait_until_running(connection: AsyncConnection, pid: int) -> None:
    """Wait until the server's process *pid* works on a query, seen from another *connection*."""
    async with asyncio.timeout(10):
        while await value(connection, "SELECT state FROM pg_stat_activity WHERE pid = %s", pid) != "active":
            await asyncio.sleep(0)


def test_rows_come_at_once_and_streamed_and_large_values_come_back_whole(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as connection:
            query = "SELECT n, 'row ' || n FROM generate_series(0, 9999) AS n"
            expected = [(number, f"row {number}") for number in range(10_000)]
            assert await (await connection.execute(query)).fetchall() == expected
            async with connection.cursor() as cursor:
                assert [row async for row in cursor.stream("SELECT generate_series(1, 500)")] == [
                    (number,) for number in range(1, 501)
                ]
            sent = random.Random(1).randbytes(4 * 1024 * 1024)
            assert await value(connection, "SELECT %b::bytea", sent) == sent

    run(main)


def test_a_pipeline_sends_many_queries_before_it_reads_an_answer(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as connection:
            async with connection.pipeline():
                cursors = [await connection.execute("SELECT %s::int", [number]) for number in range(1000)]
                answers = [await cursor.fetchone() for cursor in cursors]
            assert answers == [(number,) for number in range(1000)]

            async def fail() -> None:
                async with connection.pipeline():
                    await connection.execute("SELECT 1 / 0")
                    await connection.execute("SELECT 1")

            with pytest.raises(psycopg.errors.DivisionByZero):
                await fail()
            assert await value(connection, "SELECT 7") == 7

    run(main)


def test_a_transaction_is_undone_by_an_exception_and_by_cancellation(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as connection:
            await connection.execute("CREATE TEMPORARY TABLE t (n int)")
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (1)")

            async def insert_and_fail() -> None:
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (2)")
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await insert_and_fail()
            inserted = asyncio.Event()

            async def insert_and_wait() -> None:
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (3)")
                    inserted.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(insert_and_wait())
            await inserted.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await (await connection.execute("SELECT n FROM t")).fetchall() == [(1,)]

    run(main)


def test_a_running_query_that_is_cancelled_ends_at_the_server_and_leaves_a_usable_connection(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as connection, connect(conninfo) as observer:
            sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
            await wait_until_running(observer, connection.info.backend_pid)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            assert await value(connection, "SELECT 7") == 7
            sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
            await wait_until_running(observer, connection.info.backend_pid)
            await connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping
            assert await value(connection, "SELECT 8") == 8

    run(main)


def test_notifications_arrive_while_the_listener_waits(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as listener, connect(conninfo) as sender:
            await listener.execute("LISTEN news")

            async def hear() -> list[str]:
                return [notice.payload async for notice in listener.notifies(timeout=10, stop_after=100)]

            hearing = asyncio.create_task(hear())
            async with sender.pipeline():
                for number in range(100):
                    await sender.execute("SELECT pg_notify('news', %s)", [str(number)])
            assert await hearing == [str(number) for number in range(100)]
            # A wait that is given up leaves the connection usable, and no watch on its descriptor.
            hearing = asyncio.create_task(hear())
            await asyncio.sleep(0)
            hearing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hearing
            assert await value(listener, "SELECT 7") == 7

    run(main)


def test_copy_carries_a_table_in_and_out(conninfo: str) -> None:
    async def main() -> None:
        async with connect(conninfo) as connection, connection.cursor() as cursor:
            await connection.execute("CREATE TEMPORARY TABLE t (n int, text text)")
            records = [(number, f"text {number}" * 20) for number in range(20_000)]
            async with cursor.copy("COPY t FROM STDIN") as copy:
                for record in records:
                    await copy.write_row(record)
            out = bytearray()
            async with cursor.copy("COPY (SELECT * FROM t ORDER BY n) TO STDOUT (FORMAT csv)") as copy:
                async for block in copy:
                    out += block
            assert out == "".join(f"{number},{text}\n" for number, text in records).encode()

            async def copy_and_fail() -> None:
                async with cursor.copy("COPY t FROM STDIN") as copy:
                    await copy.write_row((1, "one"))
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await copy_and_fail()
            assert await value(connection, "SELECT count(*) FROM t") == 20_000

    run(main)


def test_a_pool_serves_more_tasks_than_it_has_connections_and_times_out_when_it_is_empty(conninfo: str) -> None:
    async def main() -> None:
        async with psycopg_pool.AsyncConnectionPool(conninfo, min_size=2, max_size=5, open=False) as pool:

            async def ask(number: int) -> object:
                async with pool.connection() as connection:
                    return await value(connection, "SELECT %s::int", number)

            assert await asyncio.gather(*(ask(number) for number in range(200))) == list(range(200))
            async with contextlib.AsyncExitStack() as taken:
                for _ in range(5):
                    await taken.enter_async_context(pool.connection())
                with pytest.raises(psycopg_pool.PoolTimeout):
                    await pool.getconn(timeout=0.05)
            assert await ask(7) == 7

    run(main)


def test_connections_opened_and_closed_reuse_numbers_without_mixing_answers(conninfo: str) -> None:
    async def main() -> None:
        async def ask(number: int) -> None:
            for turn in range(5):
                async with connect(conninfo) as connection:
                    assert await value(connection, "SELECT %s::text", f"{number}, {turn}") == f"{number}, {turn}"

        await asyncio.gather(*(ask(number) for number in range(8)))

    run(main)
