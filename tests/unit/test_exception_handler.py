"""What the loop's exception handler is told, and what happens when it fails itself."""

import asyncio
import gc
import logging
import sys
from typing import Any

import pytest

from .connections import connect
from .loops import run, run_until, turn

Loop = asyncio.AbstractEventLoop


def fail(*args: object) -> None:
    raise LookupError("theirs")


def test_the_handler_is_told_of_a_failing_callback(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    handle = loop.call_soon(fail, 1)
    turn(loop)
    (told,) = contexts
    assert set(told) == {"message", "exception", "handle"}
    assert told["message"].startswith("Exception in callback fail(")
    assert isinstance(told["exception"], LookupError)
    assert told["exception"].args == ("theirs",)
    assert told["handle"] is handle


def test_the_traceback_leads_into_the_callback_and_not_into_the_loop(
    loop: Loop, contexts: list[dict[str, Any]]
) -> None:
    loop.call_soon(fail)
    turn(loop)
    traceback = contexts[0]["exception"].__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "fail"
    assert set(names) <= {"_run", "fail"}


def test_the_default_handler_logs_an_error_with_the_traceback(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(None)
    loop.call_soon(fail)
    turn(loop)
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("Exception in callback fail(")
    assert "handle: <" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def test_a_handler_that_fails_is_logged_and_the_loop_goes_on(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(lambda loop, context: 1 // 0)
    ran: list[int] = []
    loop.call_soon(fail)
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]
    assert any("Unhandled error in exception handler" in record.getMessage() for record in caplog.records)


def test_a_handler_may_use_the_loop(loop: Loop) -> None:
    ran: list[str] = []
    loop.set_exception_handler(lambda loop, context: loop.call_soon(ran.append, "from the handler"))
    loop.call_soon(fail)
    turn(loop, 2)
    assert ran == ["from the handler"]


def test_the_exception_is_under_way_while_the_handler_is_called(make_loop: Any) -> None:
    """So that ``logging.exception()`` and ``traceback.print_exc()`` in a handler tell of it."""
    loop = make_loop()
    seen: list[Any] = []
    loop.set_exception_handler(lambda loop, context: seen.append((sys.exception(), context["exception"])))
    loop.call_soon(fail)
    turn(loop)
    connection = connect(loop)
    connection.protocol.data_received = fail  # type: ignore[method-assign]
    connection.peer.send(b"data")
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()
    assert len(seen) == 2
    assert all(under_way is told for under_way, told in seen)


def test_the_handler_can_be_asked_for_and_must_be_callable(loop: Loop) -> None:
    handler = loop.get_exception_handler()
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    with pytest.raises(TypeError, match="A callable object or None is expected"):
        loop.set_exception_handler("text")  # type: ignore[arg-type]
    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler


def test_an_exception_that_nobody_retrieved_is_told(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    future = loop.create_future()
    future.set_exception(LookupError("nobody looked"))
    del future
    gc.collect()
    (told,) = contexts
    assert told["message"] == "Future exception was never retrieved"


def test_a_task_that_is_destroyed_while_pending_is_told(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    task = loop.create_task(endless())
    turn(loop)
    del task
    gc.collect()
    (told,) = contexts
    assert told["message"] == "Task was destroyed but it is pending!"


def test_the_exceptions_of_strange_classes_are_told_too(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    class Odd(BaseException):
        def __init__(self) -> None:
            pass

        def __str__(self) -> str:
            raise RuntimeError("cannot be shown")

    class Strict(Exception):
        def __init__(self, required: object) -> None:
            super().__init__(required)

    for exception in (Odd(), Strict(1), GeneratorExit(), StopIteration(1), asyncio.CancelledError()):

        def raise_it(exception: BaseException = exception) -> None:
            raise exception

        loop.call_soon(raise_it)
        turn(loop)
        assert contexts[-1]["exception"] is exception
    assert len(contexts) == 5


def test_an_exception_in_a_done_callback_is_told(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    future = loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)
    run_until(loop, lambda: contexts)
    assert contexts[0]["message"].startswith("Exception in callback fail(")


def test_the_exception_under_way_is_not_chained_to_what_the_loop_does(
    loop: Loop, contexts: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        try:
            raise ValueError("outer")
        except ValueError:
            await asyncio.sleep(0)
            loop.call_soon(fail)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    run(loop, main())
    assert contexts[0]["exception"].__context__ is None
