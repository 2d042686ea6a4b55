"""The awaitables that ``sock_recv`` and its relatives return, and cancelling them."""

import asyncio
import gc
import inspect
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ..loops import LIMIT_S, ferrio_only, run, run_until, turn
from ..socket_pairs import Pair
from .sockets import CALLS, Loop, ended, in_turn, udp_pair, waiting


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_a_coroutine_to_asyncio(loop: Loop, call: Callable[[Any, Any], Any]) -> None:
    with socket.socket() as sock:
        operation = call(loop, sock)
        assert asyncio.iscoroutine(operation)
        assert inspect.isawaitable(operation)
        assert not asyncio.isfuture(operation)
        operation.close()


def test_nothing_happens_before_it_is_awaited(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abc")
    late = loop.sock_recv(ours, 10)
    sent = loop.sock_sendall(ours, b"x")
    turn(loop)
    assert ours.recv(10) == b"abc"
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    late.close()  # type: ignore[attr-defined]
    sent.close()  # type: ignore[attr-defined]


def test_an_operation_that_nobody_awaits_is_reported(loop: Loop, stream: Pair) -> None:
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'BaseSelectorEventLoop.sock_recv' was never awaited"):
        loop.sock_recv(stream[0], 10)
        gc.collect()


def test_every_way_to_await(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        for wait in (
            lambda each: each,
            asyncio.create_task,
            asyncio.ensure_future,
            asyncio.gather,
            lambda each: asyncio.wait_for(each, LIMIT_S),
            lambda each: asyncio.shield(each),
        ):
            loop.call_soon(theirs.send, b"abc")
            got = await wait(loop.sock_recv(ours, 10))
            assert got in (b"abc", [b"abc"])
        loop.call_soon(theirs.send, b"abc")
        done, _ = await asyncio.wait([asyncio.create_task(loop.sock_recv(ours, 10))])
        assert done.pop().result() == b"abc"

    run(loop, main())


def test_python_tasks_can_wait_for_it(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))  # type: ignore[attr-defined, arg-type]
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    assert loop.run_until_complete(task) == b"abc"
    task = waiting(loop, loop.sock_recv(ours, 10))
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        loop.run_until_complete(task)


def test_it_cannot_be_awaited_twice(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    theirs.send(b"abc")
    operation = loop.sock_recv(ours, 10)
    assert run(loop, in_turn(operation)) == [b"abc"]
    with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
        run(loop, in_turn(operation))


def test_it_cannot_be_awaited_by_two(loop: Loop, stream: Pair) -> None:
    operation: Any = loop.sock_recv(stream[0], 10)
    operation.send(None)
    with pytest.raises(RuntimeError, match=r"^coroutine is being awaited already$"):
        run(loop, in_turn(operation))
    operation.close()


def test_a_first_value_must_be_none(loop: Loop, stream: Pair) -> None:
    operation: Any = loop.sock_recv(stream[0], 10)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        operation.send(1)
    operation.close()


@ferrio_only
def test_an_exception_thrown_in_ends_it(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    for begin in (False, True):
        operation: Any = loop.sock_recv(ours, 10)
        if begin:
            operation.send(None)
        with pytest.raises(KeyError, match="thrown"):
            operation.throw(KeyError("thrown"))
        with pytest.raises(RuntimeError, match="cannot reuse"):
            operation.send(None)
    theirs.send(b"abc")
    turn(loop, 2)
    assert ours.recv(10) == b"abc"


@ferrio_only
def test_a_closed_operation_leaves_no_registration(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    operation: Any = loop.sock_recv(ours, 10)
    operation.send(None)
    operation.close()
    operation.close()
    theirs.send(b"abc")
    turn(loop, 2)
    assert run(loop, in_turn(loop.sock_recv(ours, 10))) == [b"abc"]


def test_a_result_that_is_a_tuple_arrives_as_one(loop: Loop) -> None:
    ours, theirs = udp_pair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"abc")
        operation: Any = loop.sock_recvfrom(ours, 10)
        with pytest.raises(StopIteration) as stopped:
            operation.send(None)
        assert stopped.value.value == (b"abc", theirs.getsockname())


def test_its_name_is_that_of_the_method(loop: Loop, stream: Pair) -> None:
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    coroutine: Any = task.get_coro()
    assert coroutine.__name__ == "sock_recv"
    assert coroutine.__qualname__ == "BaseSelectorEventLoop.sock_recv"
    assert coroutine.cr_running is False
    assert "coro=<BaseSelectorEventLoop.sock_recv()" in repr(task)
    task.cancel()
    turn(loop, 2)


# --- cancelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(4))
def test_a_cancelled_receive_loses_no_byte(loop: Loop, pair: Pair, turns: int) -> None:
    ours, theirs = pair
    task = waiting(loop, loop.sock_recv(ours, 10))
    theirs.send(b"abc")
    turn(loop, turns)
    if task.done():
        assert task.result() == b"abc"
        return
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        run(loop, ended(task))
    if _is_ferrio(loop):
        assert run(loop, in_turn(loop.sock_recv(ours, 10))) == [b"abc"]


def _is_ferrio(loop: Loop) -> bool:
    # asyncio has received before it hears of the cancellation, and then the bytes are lost.
    return type(loop).__module__.startswith("ferrio")


def test_the_words_of_a_cancellation_arrive(loop: Loop, stream: Pair) -> None:
    task = waiting(loop, loop.sock_recv(stream[0], 10))
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as raised:
        run(loop, ended(task))
    assert raised.value.args == ("enough",)


def test_a_limit_that_passes_ends_the_wait(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream

    async def main() -> None:
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await loop.sock_recv(ours, 10)
        await loop.sock_sendall(theirs, b"abc")
        assert await loop.sock_recv(ours, 10) == b"abc"

    run(loop, main())


def test_a_cancelled_wait_lets_the_number_go(loop: Loop, stream: Pair) -> None:
    ours, theirs = stream
    task = waiting(loop, loop.sock_recv(ours, 10))
    task.cancel()
    turn(loop, 2)
    assert not loop.remove_reader(ours)
    got: list[bytes] = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    theirs.send(b"abc")
    run_until(loop, lambda: got)
    assert loop.remove_reader(ours)
