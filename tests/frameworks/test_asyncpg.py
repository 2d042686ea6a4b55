"""asyncpg against a real PostgreSQL: over TCP, over TLS (`loop.start_tls`) and over a Unix socket."""

import asyncio
import contextlib
import io
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from .certificates import Certificates
from .loop_under_test import run
from .servers.postgresql import PostgreSQL

Connect = Callable[[], AbstractAsyncContextManager[Any]]


def options(server: PostgreSQL, kind: str, certificates: Certificates) -> dict[str, Any]:
    where: dict[str, Any] = {"port": server.port, "user": server.user, "database": server.database}
    if kind == "unix":
        return {**where, "host": str(server.socket_folder)}
    tls = certificates.client_context() if kind == "tls" else False
    return {**where, "host": "127.0.0.1", "ssl": tls}


@pytest.fixture(params=["tcp", "tls", "unix"])
def where(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, certificates: Certificates) -> dict[str, Any]:
    """Arguments of `asyncpg.connect`."""
    return options(postgresql_server, request.param, certificates)


@pytest.fixture
def connect(where: dict[str, Any]) -> Connect:
    @asynccontextmanager
    async def open_connection() -> AsyncIterator[Any]:
        connection = await asyncpg.connect(**where)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    return open_connection


async def wait_until_running(connection: Any, query: str) -> None:
    """Wait until the server works on *query*, seen from another *connection*."""
    search = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1"
    async with asyncio.timeout(10):
        while not await connection.fetchval(search, query):
            await asyncio.sleep(0)


def test_the_connection_is_of_the_kind_that_was_asked_for(where: dict[str, Any], connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert encrypted is isinstance(where.get("ssl"), ssl.SSLContext)
            unix = await connection.fetchval("SELECT inet_server_addr() IS NULL")
            assert unix is where["host"].startswith("/")

    run(main)


def test_ten_thousand_rows_come_by_query_by_cursor_and_by_prepared_statement(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            expected = [(number, number**2, f"row {number}") for number in range(10_000)]
            query = "SELECT n, n::bigint * n, 'row ' || n FROM generate_series(0, $1::int - 1) AS n"
            assert [tuple(row) for row in await connection.fetch(query, 10_000)] == expected
            async with connection.transaction():
                by_cursor = [tuple(row) async for row in connection.cursor(query, 10_000, prefetch=333)]
            assert by_cursor == expected
            statement = await connection.prepare(query)
            for size in (0, 1, 100):
                assert [tuple(row) for row in await statement.fetch(size)] == expected[:size]

    run(main)


def test_eight_mebibytes_go_there_and_back(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            sent = random.Random(1).randbytes(8 * 1024 * 1024)
            assert await connection.fetchval("SELECT $1::bytea", sent) == sent

    run(main)


def test_a_transaction_is_kept_or_undone_as_a_whole_and_savepoints_in_part(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            await connection.execute("CREATE TEMPORARY TABLE t (n int PRIMARY KEY)")
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (1)")
                with contextlib.suppress(asyncpg.UniqueViolationError):
                    async with connection.transaction():
                        await connection.execute("INSERT INTO t VALUES (2)")
                        await connection.execute("INSERT INTO t VALUES (1)")

            async def insert_and_fail() -> None:
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (3)")
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await insert_and_fail()
            assert [row["n"] for row in await connection.fetch("SELECT n FROM t")] == [1]
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.fetchval("SELECT 1 / 0")
            assert await connection.fetchval("SELECT 7") == 7

    run(main)


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_running_query_that_is_given_up_ends_at_the_server_and_leaves_a_usable_connection(
    connect: Connect, how: str
) -> None:
    async def main() -> None:
        async with connect() as connection, connect() as observer:
            query = f"SELECT pg_sleep(60) /* {how} */"
            if how == "cancelled":
                sleeping = asyncio.create_task(connection.fetchval(query))
                await wait_until_running(observer, query)
                sleeping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sleeping
            else:
                with pytest.raises(TimeoutError):
                    await connection.fetchval(query, timeout=0.05)
            # It waits for the server's answer to the cancellation first.
            assert await connection.fetchval("SELECT 7") == 7
            search = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1"
            assert await observer.fetchval(search, query) == 0

    run(main)


def test_queries_cancelled_at_every_turn_leave_a_usable_connection(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            for turns in range(12):
                task = asyncio.create_task(connection.fetchval("SELECT $1::text", f"cancelled after {turns}"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == f"cancelled after {turns}"
                assert await connection.fetchval("SELECT $1::int", turns) == turns

    run(main)


def test_notifications_arrive_in_order_while_the_listener_is_idle_and_while_it_is_busy(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as listener, connect() as sender:
            heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

            def hear(_: object, pid: int, channel: str, payload: str) -> None:
                assert channel == "news"
                heard.put_nowait((pid, payload))

            await listener.add_listener("news", hear)
            pid = sender.get_server_pid()
            for number in range(200):
                await sender.execute("SELECT pg_notify('news', $1)", str(number))
            assert [await heard.get() for _ in range(200)] == [(pid, str(number)) for number in range(200)]
            busy = asyncio.create_task(listener.fetchval("SELECT count(*) FROM generate_series(1, 1000000)"))
            await sender.execute("NOTIFY news, 'while busy'")
            assert await busy == 1_000_000
            assert await heard.get() == (pid, "while busy")
            await listener.remove_listener("news", hear)
            await sender.execute("NOTIFY news, 'nobody listens'")
            await listener.fetchval("SELECT 1")
            assert heard.empty()

    run(main)


def test_copy_carries_a_table_in_and_out(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection:
            await connection.execute("CREATE TEMPORARY TABLE t (n int, text text)")
            records = [(number, f"text {number}" * 20) for number in range(20_000)]
            assert await connection.copy_records_to_table("t", records=records) == "COPY 20000"
            out = io.BytesIO()
            await connection.copy_from_query("SELECT * FROM t ORDER BY n", output=out, format="csv")
            assert out.getvalue() == "".join(f"{number},{text}\n" for number, text in records).encode()

            async def pieces() -> AsyncIterator[bytes]:
                whole = out.getvalue()
                for start in range(0, len(whole), 70_001):
                    yield whole[start : start + 70_001]
                    await asyncio.sleep(0)

            assert await connection.copy_to_table("t", source=pieces(), format="csv") == "COPY 20000"
            assert await connection.fetchval("SELECT count(*) FROM t") == 40_000

            async def fails() -> AsyncIterator[bytes]:
                yield b"1,one\n"
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await connection.copy_to_table("t", source=fails(), format="csv")
            assert await connection.fetchval("SELECT count(*) FROM t") == 40_000

    run(main)


def test_a_pool_serves_more_tasks_than_it_has_connections_and_times_out_when_it_is_empty(
    where: dict[str, Any],
) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(**where, min_size=2, max_size=5) as pool:

            async def ask(number: int) -> tuple[int, int]:
                async with pool.acquire() as connection:
                    # The answer of another task's query would show.
                    return await connection.fetchrow("SELECT $1::int, pg_backend_pid()", number)

            answers = await asyncio.gather(*(ask(number) for number in range(300)))
            assert [number for number, _ in answers] == list(range(300))
            assert len({pid for _, pid in answers}) <= 5
            async with contextlib.AsyncExitStack() as taken:
                for _ in range(5):
                    await taken.enter_async_context(pool.acquire())
                with pytest.raises(TimeoutError):
                    await pool.acquire(timeout=0.05)
            tasks = [asyncio.create_task(ask(number)) for number in range(100)]
            for _ in range(3):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                assert isinstance(result, asyncio.CancelledError) or result[0] == number
            assert await pool.fetchval("SELECT 7") == 7

    run(main)


def test_a_connection_whose_server_process_is_ended_fails_and_says_so(connect: Connect) -> None:
    async def main() -> None:
        async with connect() as connection, connect() as other:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            query = "SELECT pg_sleep(60) /* ended */"
            sleeping = asyncio.create_task(connection.fetchval(query))
            await wait_until_running(other, query)
            assert await other.fetchval("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="terminating connection"):
                await sleeping
            await asyncio.wait_for(lost.wait(), 10)
            assert connection.is_closed()

    run(main)


def test_a_connect_that_is_cancelled_or_refused_leaves_nothing_behind(
    postgresql_server: PostgreSQL, certificates: Certificates
) -> None:
    where = options(postgresql_server, "tls", certificates)

    async def main() -> None:
        for turns in range(0, 30, 2):
            task = asyncio.create_task(asyncpg.connect(**where))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(**{**where, "database": "nowhere"})
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncpg.connect(**{**where, "ssl": ssl.create_default_context()})
        # The server notices each abandoned connection at its own pace.
        observer = await asyncpg.connect(**where)
        search = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        async with asyncio.timeout(10):
            while await observer.fetchval(search) > 1:
                await asyncio.sleep(0.01)
        await observer.close()

    # asyncpg itself drops the future of a handshake that it gives up.
    unhandled: list[dict[str, Any]] = []
    run(main, unhandled=unhandled)
    assert {str(context["exception"]) for context in unhandled} <= {"unexpected connection_lost() call"}
