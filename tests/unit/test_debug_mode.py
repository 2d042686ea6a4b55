"""Debug mode: where a callback was scheduled, slow callbacks, calls from a wrong thread."""

import _thread
import asyncio
import functools
import logging
import operator
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from .connections import Recorder, connect
from .loops import LIMIT_S, run, run_until, turn

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def debugged(loop: Loop) -> Loop:
    loop.set_debug(True)
    return loop


def fail() -> None:
    raise LookupError("theirs")


def schedule_soon(loop: Any) -> Any:
    return loop.call_soon(fail)


def schedule_later(loop: Any) -> Any:
    return loop.call_later(0, fail)


def schedule_at(loop: Any) -> Any:
    return loop.call_at(0, fail)


def schedule_from_any_thread(loop: Any) -> Any:
    return loop.call_soon_threadsafe(fail)


each_schedule = pytest.mark.parametrize(
    "schedule", [schedule_soon, schedule_later, schedule_at, schedule_from_any_thread]
)


@each_schedule
def test_a_handle_knows_where_it_was_scheduled(debugged: Loop, schedule: Any, contexts: list[dict[str, Any]]) -> None:
    handle = schedule(debugged)
    last = handle._source_traceback[-1]
    assert last.filename == __file__
    assert last.name == schedule.__name__
    assert "fail" in last.line
    assert f"created at {__file__}:{last.lineno}" in repr(handle)
    run_until(debugged, lambda: contexts)


@each_schedule
def test_the_exception_handler_is_told_where_the_callback_was_scheduled(
    debugged: Loop, schedule: Any, contexts: list[dict[str, Any]]
) -> None:
    handle = schedule(debugged)
    run_until(debugged, lambda: contexts)
    (told,) = contexts
    assert told["handle"] is handle
    assert told["source_traceback"] is handle._source_traceback
    assert told["message"].startswith("Exception in callback fail() at ")


def test_without_debug_mode_nothing_is_recorded(loop: Loop, contexts: list[dict[str, Any]]) -> None:
    handle = schedule_soon(loop)
    turn(loop)
    assert handle._source_traceback is None
    assert "source_traceback" not in contexts[0]


def test_debug_mode_can_be_changed_at_any_time(loop: Loop) -> None:
    made = []
    for debug in (True, False, True):
        loop.set_debug(debug)
        assert loop.get_debug() is debug
        made.append(loop.call_soon(print, "")._source_traceback is not None)  # type: ignore[attr-defined]
    assert made == [True, False, True]
    loop.call_soon(loop.set_debug, False)
    loop.call_soon(loop.set_debug, True)
    turn(loop)
    assert loop.get_debug()


def test_a_slow_callback_is_logged(debugged: Loop, caplog: pytest.LogCaptureFixture) -> None:
    debugged.slow_callback_duration = 0.005  # type: ignore[attr-defined]
    debugged.call_soon(time.sleep, 0.006)
    debugged.call_soon(time.sleep, 0)
    with caplog.at_level(logging.WARNING, "asyncio"):
        turn(debugged)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Executing <Handle sleep(0.006) created at ")
    assert re.search(r" took 0\.\d\d\d seconds$", record.getMessage())


def test_a_slow_task_is_logged_with_its_coroutine(debugged: Loop, caplog: pytest.LogCaptureFixture) -> None:
    debugged.slow_callback_duration = 0.005  # type: ignore[attr-defined]

    async def slow_coroutine() -> None:
        time.sleep(0.006)

    with caplog.at_level(logging.WARNING, "asyncio"):
        debugged.run_until_complete(slow_coroutine())
    (record,) = caplog.records
    assert record.getMessage().startswith("Executing <Task ")
    assert "slow_coroutine" in record.getMessage()


def test_a_slow_protocol_is_logged(debugged: Loop, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Recorder):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.02)
            super().data_received(data)

    connection = connect(debugged, Slow)
    debugged.slow_callback_duration = 0.02  # type: ignore[attr-defined]
    connection.peer.send(b"data")
    with caplog.at_level(logging.WARNING, "asyncio"):
        run_until(debugged, lambda: connection.protocol.received)
    connection.end()
    (message,) = [record.getMessage() for record in caplog.records if "Executing" in record.getMessage()]
    assert "SocketTransport" in message
    took = re.search(r" took (\d\.\d{3}) seconds$", message)
    assert took is not None
    assert float(took[1]) >= 0.02


def test_without_debug_mode_no_callback_is_slow(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.slow_callback_duration = 0.0  # type: ignore[attr-defined]
    loop.call_soon(print, "")
    with caplog.at_level(logging.WARNING, "asyncio"):
        turn(loop)
    assert caplog.records == []


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_a_call_from_a_wrong_thread_is_refused(debugged: Any, method: str) -> None:
    refused: list[str] = []

    def from_elsewhere() -> None:
        delay = () if method == "call_soon" else (1e9,)
        try:
            getattr(debugged, method)(*delay, print)
        except RuntimeError as error:
            refused.append(str(error))
        debugged.call_soon_threadsafe(debugged.stop)

    debugged.call_soon(threading.Thread(target=from_elsewhere).start)
    debugged.run_forever()
    assert refused == ["Non-thread-safe operation invoked on an event loop other than the current one"]


def test_a_loop_that_does_not_run_is_nobodys(debugged: Any) -> None:
    thread = threading.Thread(target=lambda: debugged.call_soon(print, "").cancel())
    thread.start()
    thread.join()
    turn(debugged)


def test_call_soon_threadsafe_from_another_thread_is_right(debugged: Any) -> None:
    thread = threading.Thread(target=lambda: debugged.call_soon_threadsafe(debugged.stop))
    debugged.call_soon(thread.start)
    debugged.run_forever()
    thread.join()


def without_a_frame(call: Callable[[], Any]) -> Any:
    """Return the result of *call* in a thread without a Python frame, such as a foreign library makes."""
    results: list[Any] = []
    ended = threading.Lock()
    ended.acquire()
    _thread.start_new_thread(functools.partial(results.extend, map(operator.call, [call, ended.release])), ())
    assert ended.acquire(timeout=LIMIT_S), "the call failed"
    return results[0]


def test_a_running_loop_is_woken_from_a_thread_without_a_frame(debugged: Any) -> None:
    async def main() -> None:
        event = asyncio.Event()
        _thread.start_new_thread(functools.partial(debugged.call_soon_threadsafe, event.set), ())
        await event.wait()

    run(debugged, main())


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "create_future", "create_task"])
def test_what_is_made_without_a_frame_has_an_empty_origin(debugged: Any, method: str) -> None:
    async def nothing() -> None:
        pass

    arguments = {"call_later": [0, int], "create_future": []}.get(method, [int])
    if method == "create_task":
        arguments = [nothing()]
    made = without_a_frame(functools.partial(getattr(debugged, method), *arguments))
    origin = made._source_traceback
    # CPython's own future shows the function of `traceback` that has looked.
    assert not [frame for frame in origin if not frame.filename.endswith(("traceback.py", "base_events.py"))]
    assert repr(made)
    if method == "create_task":
        debugged.run_until_complete(made)
    turn(debugged)


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_coroutine_is_no_callback(debugged: Any, method: str) -> None:
    async def coroutine_function() -> None:
        pass

    delay = () if method.startswith("call_soon") else (1e9,)
    # asyncio's call_later() speaks of call_at(), by which it is done.
    told = "call_(later|at)" if delay else method
    with pytest.raises(TypeError, match=f"coroutines cannot be used with {told}\\(\\)"):
        getattr(debugged, method)(*delay, coroutine_function)
    with pytest.raises(TypeError, match=f"a callable object was expected by {told}\\(\\), got 1"):
        getattr(debugged, method)(*delay, 1)
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match=f"coroutines cannot be used with {told}\\(\\)"):
        getattr(debugged, method)(*delay, coroutine)
    coroutine.close()


def test_the_handle_under_way_is_known_to_the_loop(debugged: Any, contexts: list[dict[str, Any]]) -> None:
    seen: list[Any] = []
    handle = debugged.call_soon(lambda: seen.append(debugged._current_handle))
    turn(debugged)
    assert seen == [handle]
    assert debugged._current_handle is None


def test_a_tasks_origin_is_tracked(debugged: Loop) -> None:
    async def child() -> None:
        pass

    async def main() -> Any:
        coroutine = child()
        origin = coroutine.cr_origin
        await coroutine
        return origin

    (frame, *_) = run(debugged, main())
    assert frame[0] == __file__


def test_time_spent_in_the_loops_own_wait_is_nobodys(debugged: Any, caplog: pytest.LogCaptureFixture) -> None:
    debugged.slow_callback_duration = 0.2
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(debugged, asyncio.sleep(0.4))
    assert [record for record in caplog.records if "Executing" in record.getMessage()] == []
