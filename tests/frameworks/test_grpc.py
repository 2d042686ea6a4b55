"""grpc.aio: a server and its clients on one loop, all four kinds of call, cut short from either side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from .certificates import Certificates
from .loop_under_test import assert_running_on_loop_under_test, run

NAME = "test.Service"
LIMIT_S = 15.0


class Service:
    """Messages are bytes as they are: no code is generated for them."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def shout(self, request: bytes, context: Any) -> bytes:
        assert_running_on_loop_under_test()
        await asyncio.sleep(0)
        return request.upper()

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def add(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([int(request) async for request in requests])

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def wait(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Answers once and then waits for the end of the call."""
        yield b"waiting"
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def refuse(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "refused", (("reason", "none"),))
        raise AssertionError("abort returned")

    async def fail(self, request: bytes, context: Any) -> bytes:
        raise ZeroDivisionError("failed")

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        methods = {
            "shout": grpc.unary_unary_rpc_method_handler(self.shout),
            "count": grpc.unary_stream_rpc_method_handler(self.count),
            "add": grpc.stream_unary_rpc_method_handler(self.add),
            "echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "wait": grpc.stream_stream_rpc_method_handler(self.wait),
            "refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
            "fail": grpc.unary_unary_rpc_method_handler(self.fail),
        }
        return [grpc.method_handlers_generic_handler(NAME, methods)]


class Calls:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.shout = channel.unary_unary(f"/{NAME}/shout")
        self.refuse = channel.unary_unary(f"/{NAME}/refuse")
        self.fail = channel.unary_unary(f"/{NAME}/fail")
        self.count = channel.unary_stream(f"/{NAME}/count")
        self.add = channel.stream_unary(f"/{NAME}/add")
        self.echo = channel.stream_stream(f"/{NAME}/echo")
        self.wait = channel.stream_stream(f"/{NAME}/wait")


@pytest.fixture
def credentials(secure: bool, certificates: Certificates) -> tuple[Any, Any] | None:
    if not secure:
        return None
    key, certificate = certificates.server_key_file.read_bytes(), certificates.server_file.read_bytes()
    return (
        grpc.ssl_server_credentials([(key, certificate)]),
        grpc.ssl_channel_credentials(certificates.authority_file.read_bytes()),
    )


@asynccontextmanager
async def served(credentials: tuple[Any, Any] | None) -> AsyncIterator[tuple[grpc.aio.Server, Service, Calls]]:
    server, service = grpc.aio.server(), Service()
    server.add_generic_rpc_handlers(service.handlers())
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials[0])
        channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials[1])
    await server.start()
    try:
        async with channel:
            yield server, service, Calls(channel)
    finally:
        await server.stop(None)


def test_each_of_300_concurrent_calls_gets_its_own_answer(credentials: tuple[Any, Any] | None) -> None:
    async def main() -> None:
        async with served(credentials) as (_, _, calls):
            answers = await asyncio.gather(*(calls.shout(b"number %d" % number) for number in range(300)))
            assert answers == [b"NUMBER %d" % number for number in range(300)]

    run(main)


def test_messages_stream_in_either_direction(credentials: tuple[Any, Any] | None) -> None:
    async def numbers(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"%d" % number

    async def main() -> None:
        async with served(credentials) as (_, _, calls):
            assert [message async for message in calls.count(b"500")] == [b"%d" % number for number in range(500)]
            assert await calls.add(numbers(500)) == b"%d" % sum(range(500))

    run(main)


def test_messages_stream_in_both_directions_at_once(credentials: tuple[Any, Any] | None) -> None:
    async def main() -> None:
        async with served(credentials) as (_, _, calls):

            async def talk(number: int) -> None:
                call = calls.echo()
                for turn in range(20):
                    await call.write(b"%d, %d" % (number, turn))
                    assert await call.read() == b"%d, %d" % (number, turn)
                large = b"%d" % number * 500_000
                await call.write(large)
                assert await call.read() == large
                await call.done_writing()
                assert await call.read() is grpc.aio.EOF
                assert await call.code() is grpc.StatusCode.OK

            await asyncio.gather(*(talk(number) for number in range(10)))

    run(main)


@pytest.mark.parametrize("how", ["call", "task"])
def test_a_stream_that_its_client_cancels_is_cancelled_at_the_server(
    credentials: tuple[Any, Any] | None, how: str
) -> None:
    async def main() -> None:
        async with served(credentials) as (_, service, calls):
            call = calls.wait()
            assert await call.read() == b"waiting"
            await asyncio.wait_for(service.waiting.wait(), LIMIT_S)
            reading = asyncio.create_task(call.read())
            await asyncio.sleep(0)
            if how == "call":
                assert call.cancel()
            else:
                reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await asyncio.wait_for(service.cancelled.wait(), LIMIT_S)
            assert await call.code() is grpc.StatusCode.CANCELLED
            assert await calls.shout(b"still there") == b"STILL THERE"

    run(main)


def test_a_deadline_ends_the_call_at_both_sides(credentials: tuple[Any, Any] | None) -> None:
    async def main() -> None:
        async with served(credentials) as (_, service, calls):
            call = calls.wait(timeout=0.2)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                async for _ in call:
                    pass
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(service.cancelled.wait(), LIMIT_S)

    run(main)


def test_calls_cancelled_at_every_turn_leave_a_usable_channel(credentials: tuple[Any, Any] | None) -> None:
    async def main() -> None:
        async with served(credentials) as (_, _, calls):
            for turns in range(15):

                async def ask(text: bytes) -> bytes:
                    return await calls.shout(text)

                task = asyncio.create_task(ask(b"cancelled"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == b"CANCELLED"
                assert await calls.shout(b"%d" % turns) == b"%d" % turns

    run(main)


def test_a_server_refuses_and_fails_with_a_status(
    credentials: tuple[Any, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(credentials) as (_, _, calls):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await calls.refuse(b"")
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert raised.value.details() == "refused"
            assert ("reason", "none") in list(raised.value.trailing_metadata())
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await calls.fail(b"")
            assert raised.value.code() is grpc.StatusCode.UNKNOWN
            assert "failed" in str(raised.value.details())

    run(main)


def test_a_server_that_stops_lets_the_call_in_flight_end(credentials: tuple[Any, Any] | None) -> None:
    async def main() -> None:
        async with served(credentials) as (server, _, calls):
            call = calls.echo()
            await call.write(b"first")
            assert await call.read() == b"first"
            stopping = asyncio.create_task(server.stop(LIMIT_S))
            await asyncio.sleep(0)
            await call.write(b"last")
            assert await call.read() == b"last"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            await stopping
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await calls.shout(b"nobody listens")
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE

    run(main)
