"""redis-py's asyncio client against a real Redis: over TCP, TLS and a Unix socket, with both of its parsers.

Its connections are asyncio's streams, and over TCP those of Ferrio's namespace too.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from redis import asyncio as aioredis
from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError

from .certificates import Certificates
from .loop_under_test import run
from .namespaces import NAMESPACES
from .servers.redis import Redis

Open = Callable[..., AbstractAsyncContextManager[Any]]

#: Seconds for anything that a test waits for.
LIMIT_S = 10.0


KINDS = {
    "tcp": ("tcp", _AsyncHiredisParser, "streams"),
    "tcp-python-parser": ("tcp", _AsyncRESP2Parser, "streams"),
    "tls": ("tls", _AsyncHiredisParser, "streams"),
    "unix": ("unix", _AsyncHiredisParser, "streams"),
    "tcp-namespace": ("tcp", _AsyncHiredisParser, "ferrio.asyncio streams"),
    "tcp-python-parser-namespace": ("tcp", _AsyncRESP2Parser, "ferrio.asyncio streams"),
}


@pytest.fixture(params=[name for name, (_, _, streams) in KINDS.items() if streams in NAMESPACES])
def where(
    request: pytest.FixtureRequest, redis_server: Redis, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Arguments of a connection pool."""
    kind, parser, streams = KINDS[request.param]
    monkeypatch.setattr("redis.asyncio.connection.asyncio", NAMESPACES[streams])
    shared = {"protocol": 2, "parser_class": parser}
    if kind == "unix":
        return {"connection_class": aioredis.UnixDomainSocketConnection, "path": str(redis_server.socket), **shared}
    if kind == "tcp":
        return {"host": "127.0.0.1", "port": redis_server.port, **shared}
    return {
        "connection_class": aioredis.SSLConnection,
        "host": "127.0.0.1",
        "port": redis_server.tls_port,
        "ssl_ca_certs": str(certificates.authority_file),
        **shared,
    }


@pytest.fixture
def open_client(where: dict[str, Any]) -> Open:
    """Opens a client with a pool of its own and an empty database."""

    @asynccontextmanager
    async def opened(
        pool_class: type[aioredis.ConnectionPool] = aioredis.ConnectionPool, **options: Any
    ) -> AsyncIterator[aioredis.Redis]:
        pool = pool_class(**where, **options)
        async with aioredis.Redis(connection_pool=pool) as client:
            try:
                await client.flushdb()
                yield client
            finally:
                await pool.disconnect()

    return opened


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await condition():
            await asyncio.sleep(0)


async def blocked_clients(client: aioredis.Redis) -> int:
    return int((await client.info("clients"))["blocked_clients"])


def test_values_of_every_size_come_back_whole(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client:
            for size in (0, 1, 65_535, 65_536, 8 * 1024 * 1024):
                sent = random.Random(size).randbytes(size)
                await client.set("key", sent)
                assert await client.get("key") == sent
            assert await client.get("missing") is None

    run(main)


def test_a_pipeline_of_ten_thousand_commands_is_answered_in_order(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client:
            pipeline = client.pipeline(transaction=False)
            for number in range(5_000):
                pipeline.set(f"key {number}", f"value {number}")
                pipeline.get(f"key {number}")
            answers = await pipeline.execute()
            assert answers[::2] == [True] * 5_000
            assert answers[1::2] == [f"value {number}".encode() for number in range(5_000)]
            pipeline.set("text", "not a number").incr("text").get("text")
            _, error, text = await pipeline.execute(raise_on_error=False)
            assert isinstance(error, ResponseError)
            assert text == b"not a number"

    run(main)


def test_a_watched_key_that_changes_undoes_the_transaction(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client:
            await client.set("key", 1)
            async with client.pipeline() as pipeline:
                await pipeline.watch("key")
                await client.set("key", 2)
                pipeline.multi()
                pipeline.set("key", 3)
                with pytest.raises(WatchError):
                    await pipeline.execute()

            async def add_one(pipeline: Any) -> None:
                number = int(await pipeline.get("key"))
                pipeline.multi()
                pipeline.set("key", number + 1)

            await asyncio.gather(*(client.transaction(add_one, "key") for _ in range(10)))
            assert await client.get("key") == b"12"

    run(main)


def test_two_hundred_tasks_over_one_pool_each_get_their_own_answers(open_client: Open) -> None:
    async def main() -> None:
        async with open_client(aioredis.BlockingConnectionPool, max_connections=20, timeout=2 * LIMIT_S) as client:

            async def talk(number: int) -> None:
                for turn in range(4):
                    await client.set(f"key {number}", f"{number}, {turn}")
                    assert await client.get(f"key {number}") == f"{number}, {turn}".encode()

            await asyncio.gather(*(talk(number) for number in range(200)))

    run(main)


def test_a_pool_that_is_empty_times_out(open_client: Open) -> None:
    async def main() -> None:
        async with open_client(aioredis.BlockingConnectionPool, max_connections=1, timeout=0.05) as client:
            async with client.pipeline() as pipeline:
                await pipeline.watch("key")
                with pytest.raises(RedisConnectionError):
                    await client.get("key")
            assert await client.get("key") is None

    run(main)


def test_what_is_published_reaches_every_subscriber_in_order(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client, contextlib.AsyncExitStack() as stack:
            subscribers = []
            for number in range(10):
                subscriber = await stack.enter_async_context(client.pubsub(ignore_subscribe_messages=True))
                await (subscriber.psubscribe("news*") if number % 2 else subscriber.subscribe("news"))
                subscribers.append(subscriber)

            async def hear(subscriber: Any) -> list[bytes]:
                heard: list[bytes] = []
                async for message in subscriber.listen():
                    heard.append(message["data"])
                    if message["data"] == b"end":
                        return heard
                raise AssertionError("the subscription ended")

            hearing = [asyncio.create_task(hear(subscriber)) for subscriber in subscribers]
            await wait_until(lambda: reached(client, "probe", 10))
            for number in range(200):
                assert await client.publish("news", str(number)) == 10
            await client.publish("news", "end")
            for heard in await asyncio.gather(*hearing):
                assert [data for data in heard if data != b"probe"] == [b"%d" % n for n in range(200)] + [b"end"]
            assert await subscribers[0].get_message(timeout=0.01) is None

    async def reached(client: aioredis.Redis, message: str, count: int) -> bool:
        return bool(await client.publish("news", message) == count)

    run(main)


def test_a_blocking_pop_gets_what_is_pushed_later_and_can_be_cancelled(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client, open_client() as other:

            async def is_blocked() -> bool:
                return await blocked_clients(other) == 1

            async def none_is_blocked() -> bool:
                return await blocked_clients(other) == 0

            popping = asyncio.create_task(client.blpop(["list"], timeout=60))
            await wait_until(is_blocked)
            await other.rpush("list", "pushed")
            assert await popping == (b"list", b"pushed")
            popping = asyncio.create_task(client.blpop(["list"], timeout=60))
            await wait_until(is_blocked)
            popping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await popping
            await wait_until(none_is_blocked)
            # The answer that the cancelled pop would have had goes to nobody.
            await other.rpush("list", "second")
            assert await client.lrange("list", 0, -1) == [b"second"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.blpop(["empty"], timeout=60)
            assert await client.ping()

    run(main)


def test_commands_cancelled_at_every_turn_never_take_another_commands_answer(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client:
            for number in range(60):
                task = asyncio.create_task(client.echo(f"cancelled {number}"))
                for _ in range(number % 12):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == f"cancelled {number}".encode()
                assert await client.echo(f"{number}") == f"{number}".encode()

    run(main)


def test_a_connection_that_the_server_closes_is_made_again(open_client: Open) -> None:
    async def main() -> None:
        async with open_client() as client, open_client() as other:
            number = await client.client_id()
            assert await other.client_kill_filter(_id=number) == 1
            assert await client.ping()
            assert await client.client_id() != number

    run(main)


@asynccontextmanager
async def relayed(port: int) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """Carry connections over streams to *port*: the port to connect to, and what resets all of its clients."""
    clients: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(100_000):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        clients.add(writer)
        # On 3.11 asyncio's callback asks a cancelled task for its exception, and reports that.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(carry(reader, server_writer), carry(server_reader, writer))
        clients.discard(writer)

    def reset() -> None:
        for writer in clients:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1], reset
        finally:
            reset()


def test_a_connection_that_is_reset_is_made_again(where: dict[str, Any], redis_server: Redis) -> None:
    if where.get("port") != redis_server.port:
        pytest.skip("the relay speaks TCP")

    async def main() -> None:
        async with relayed(redis_server.port) as (port, reset):
            # A command whose answer is lost is asked again.
            pool = aioredis.ConnectionPool(**{**where, "port": port}, retry=Retry(NoBackoff(), 3))
            async with aioredis.Redis(connection_pool=pool) as client, client.pubsub() as subscriber:
                await client.set("key", b"x" * 1_000_000)
                await subscriber.subscribe("news")
                assert (await subscriber.get_message(timeout=LIMIT_S))["type"] == "subscribe"
                for _ in range(3):
                    reset()
                    assert await client.get("key") == b"x" * 1_000_000
                    # The first message after a reset is the answer to the subscription that was made again.
                    assert (await subscriber.get_message(timeout=LIMIT_S))["type"] == "subscribe"
                async with aioredis.Redis(port=redis_server.port) as observer:

                    async def popping() -> set[str]:
                        return {each["id"] for each in await observer.client_list() if each["cmd"] == "blpop"}

                    async def is_another() -> bool:
                        now = await popping()
                        return len(now) == 1 and now != first

                    # While a command waits for its answer.
                    waiting = asyncio.create_task(client.blpop(["list"], timeout=60))
                    await wait_until(popping)
                    first = await popping()
                    reset()
                    await wait_until(is_another)
                    await observer.rpush("list", "something")
                    assert await waiting == (b"list", b"something")
                    await observer.flushdb()
            await pool.disconnect()

    run(main)
