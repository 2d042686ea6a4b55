"""Wrong calls to a loop (closed, in a wrong place, with wrong arguments) show the same as on asyncio's."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from .loops_compared import LIMIT_S, OnlyType, awaiting, same_on_both, turn

Loop = asyncio.AbstractEventLoop


def nothing(*_: object) -> None:
    pass


async def coroutine_function() -> None:
    pass


def first_step(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Drive *coroutine* to its first suspension; a closed loop runs nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()
    return "suspended"


# --- a closed loop ------------------------------------------------------------------------------------------

ON_A_CLOSED_LOOP: dict[str, Callable[[Loop], Any]] = {
    "call_soon": lambda loop: loop.call_soon(nothing),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(nothing),
    "call_later": lambda loop: loop.call_later(1, nothing),
    "call_at": lambda loop: loop.call_at(1, nothing),
    "run_forever": lambda loop: loop.run_forever(),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "run_in_executor": lambda loop: loop.run_in_executor(None, nothing),
    "create_future": lambda loop: loop.create_future().done(),
    "add_reader": lambda loop: loop.add_reader(0, nothing),
    "add_writer": lambda loop: loop.add_writer(1, nothing),
    "remove_reader": lambda loop: loop.remove_reader(0),
    "remove_writer": lambda loop: loop.remove_writer(1),
    "add_signal_handler": lambda loop: loop.add_signal_handler(signal.SIGUSR1, nothing),
    "remove_signal_handler": lambda loop: loop.remove_signal_handler(signal.SIGUSR1),
    "stop": lambda loop: loop.stop(),
    "close": lambda loop: loop.close(),
    "is_running": lambda loop: (loop.is_running(), loop.is_closed()),
    "set_debug": lambda loop: loop.set_debug(True),
    "getaddrinfo": lambda loop: first_step(loop.getaddrinfo("127.0.0.1", 1)),
    "getnameinfo": lambda loop: first_step(loop.getnameinfo(("127.0.0.1", 1))),
    "shutdown_asyncgens": lambda loop: first_step(loop.shutdown_asyncgens()),
    "shutdown_default_executor": lambda loop: first_step(loop.shutdown_default_executor()),
    "create_connection": lambda loop: first_step(loop.create_connection(asyncio.Protocol, "127.0.0.1", 1)),
    "create_datagram_endpoint": lambda loop: first_step(
        loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    ),
}


@pytest.mark.parametrize("method", ON_A_CLOSED_LOOP)
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_a_closed_loop_answers_as_asyncios(method: str, debug: bool) -> None:
    def scenario(loop: Loop) -> Any:
        loop.close()
        return ON_A_CLOSED_LOOP[method](loop)

    same_on_both(scenario, debug=debug)


def test_a_closed_loop_refuses_callbacks() -> None:
    def scenario(loop: Loop) -> None:
        loop.close()
        loop.call_soon(nothing)

    assert same_on_both(scenario).raised == {"type": RuntimeError, "args": ["Event loop is closed"]}


def test_a_closed_loop_refuses_tasks_and_sockets() -> None:
    def scenario(loop: Loop) -> list[Any]:
        loop.close()
        errors: list[BaseException] = []
        coroutine = coroutine_function()
        try:
            loop.create_task(coroutine)
        except RuntimeError as error:
            errors.append(error)
        coroutine.close()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            for call in (loop.sock_recv(left, 1), loop.sock_accept(left), loop.sock_sendall(left, b"x")):
                try:
                    first_step(call)
                except (RuntimeError, OSError) as error:
                    errors.append(error)
        return errors

    assert same_on_both(scenario).value[0]["args"] == ["Event loop is closed"]


# ``call_later`` is ``call_at`` in asyncio, and says so when it raises.
NAMED_IN_ERRORS = {
    "call_soon": "call_soon",
    "call_soon_threadsafe": "call_soon_threadsafe",
    "call_later": "call_at",
    "call_at": "call_at",
}

# --- callbacks that are none --------------------------------------------------------------------------------


@pytest.mark.parametrize("callback", [None, 3, "text", [], object], ids=repr)
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_callback_that_is_not_callable(method: str, callback: Any, debug: bool) -> None:
    def scenario(loop: Loop) -> None:
        delay = {"call_later": (0,), "call_at": (0,)}.get(method, ())
        getattr(loop, method)(*delay, callback)
        turn(loop, 2)

    outcome = same_on_both(scenario, debug=debug)
    if debug and callback is not object:
        assert outcome.raised is not None
        assert outcome.raised["type"] is TypeError
        assert NAMED_IN_ERRORS[method] in outcome.raised["args"][0]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
@pytest.mark.parametrize("kind", ["coroutine", "coroutine function"])
def test_a_coroutine_as_a_callback(method: str, kind: str, debug: bool) -> None:
    def scenario(loop: Loop) -> None:
        delay = {"call_later": (0,), "call_at": (0,)}.get(method, ())
        coroutine = coroutine_function()
        try:
            getattr(loop, method)(*delay, coroutine if kind == "coroutine" else coroutine_function)
            turn(loop, 2)
        finally:
            coroutine.close()

    outcome = same_on_both(scenario, debug=debug)
    if debug:
        assert outcome.raised is not None
        assert outcome.raised["args"] == [f"coroutines cannot be used with {NAMED_IN_ERRORS[method]}()"]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_wrong_functions_for_the_executor_and_signals(debug: bool) -> None:
    def scenario(loop: Loop) -> list[Any]:
        errors: list[Any] = []
        for call in (
            lambda: loop.run_in_executor(None, coroutine_function),
            lambda: loop.run_in_executor(None, None),  # type: ignore[arg-type]
            lambda: loop.add_signal_handler(signal.SIGUSR1, coroutine_function),
            lambda: loop.add_signal_handler(signal.SIGUSR1, None),  # type: ignore[arg-type]
        ):
            try:
                future = call()
            except Exception as error:
                errors.append(error)
                continue
            if future is not None:
                with contextlib.suppress(Exception):
                    errors.append(type(loop.run_until_complete(future)))
        loop.remove_signal_handler(signal.SIGUSR1)
        return errors

    same_on_both(scenario, debug=debug)


# --- one loop at a time -------------------------------------------------------------------------------------


def raised_by(loop: Loop, call: Callable[[], object]) -> BaseException | None:
    """What *call* raises on a running *loop*, which stays the running one."""
    try:
        call()
    except RuntimeError as error:
        return error
    finally:
        # asyncio of Python 3.12 and 3.13 forgets the running loop when it refuses to run.
        asyncio._set_running_loop(loop)
    return None


@pytest.mark.parametrize("method", ["run_forever", "run_until_complete"])
def test_a_loop_does_not_run_inside_another(method: str) -> None:
    async def main(loop: Loop) -> BaseException | None:
        other = type(loop)()
        try:
            arguments = [other.create_future()] if method == "run_until_complete" else []
            return raised_by(loop, lambda: getattr(other, method)(*arguments))
        finally:
            other.close()

    expected = "Cannot run the event loop while another loop is running"
    assert same_on_both(awaiting(main)).value["args"] == [expected]


def test_asyncio_run_refuses_a_running_loop() -> None:
    async def main(loop: Loop) -> BaseException | None:
        coroutine = coroutine_function()
        try:
            return raised_by(loop, lambda: asyncio.run(coroutine))
        finally:
            coroutine.close()

    assert same_on_both(awaiting(main)).value is not None


@pytest.mark.parametrize("method", ["run_forever", "run_until_complete", "close"])
def test_a_running_loop_neither_runs_again_nor_closes(method: str) -> None:
    async def main(loop: Loop) -> BaseException | None:
        arguments = [loop.create_future()] if method == "run_until_complete" else []
        return raised_by(loop, lambda: getattr(loop, method)(*arguments))

    assert "running" in same_on_both(awaiting(main)).value["args"][0]


def test_run_until_complete_refuses_what_it_cannot_wait_for() -> None:
    def scenario(loop: Loop) -> list[BaseException]:
        errors: list[BaseException] = []
        other = asyncio.new_event_loop()
        try:
            for argument in (3, None, nothing, coroutine_function, other.create_future()):
                try:
                    loop.run_until_complete(argument)  # type: ignore[arg-type]
                except (TypeError, ValueError) as error:
                    errors.append(error)
        finally:
            other.close()
        loop.call_soon(loop.stop)
        try:
            loop.run_until_complete(loop.create_future())
        except RuntimeError as error:
            errors.append(error)
        return errors

    assert len(same_on_both(scenario).value) == 6


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["callback", "task", "timer"])
def test_an_exception_that_ends_the_program_leaves_the_loop_usable(kind: type[BaseException], place: str) -> None:
    def scenario(loop: Loop) -> list[Any]:
        def leave() -> None:
            raise kind("leaving")

        async def leave_in_a_task() -> None:
            leave()

        seen: list[Any] = []
        if place == "task":
            task = loop.create_task(leave_in_a_task())
        elif place == "callback":
            loop.call_soon(leave)
        else:
            loop.call_later(0, leave)
        loop.call_soon(seen.append, "the callback behind it")
        for _ in range(2):
            try:
                turn(loop, 2)
            except kind as error:
                seen.append(error)
        if place == "task":
            seen.append(task.exception())
        seen.append(loop.run_until_complete(asyncio.sleep(0, "usable")))
        return seen

    assert same_on_both(scenario).value[-1] == "usable"


# --- threads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_use_from_another_thread(method: str, debug: bool) -> None:
    def scenario(loop: Loop) -> Any:
        async def main() -> Any:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                delay = {"call_later": (0,), "call_at": (0,)}.get(method, ())
                future = pool.submit(getattr(loop, method), *delay, nothing)
                return future.exception(LIMIT_S)

        return loop.run_until_complete(main())

    outcome = same_on_both(scenario, debug=debug)
    assert (outcome.value is not None) == debug


def test_signal_handlers_need_the_main_thread() -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []

        def add() -> None:
            try:
                loop.add_signal_handler(signal.SIGUSR1, nothing)
            except (ValueError, RuntimeError) as error:
                seen.append(error)

        thread = threading.Thread(target=add)
        thread.start()
        thread.join(LIMIT_S)
        return seen

    assert len(same_on_both(scenario).value) == 1


# --- signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [0, -1, 1000, 32, 33, signal.NSIG, signal.SIGKILL, signal.SIGSTOP, "SIGINT", None, 1.5],
    ids=str,
)
def test_a_signal_that_does_not_exist_or_cannot_be_caught(number: Any) -> None:
    def scenario(loop: Loop) -> list[Any]:
        seen: list[Any] = []
        for call in (
            lambda: loop.add_signal_handler(number, nothing),
            lambda: loop.remove_signal_handler(number),
        ):
            try:
                seen.append(call())
            except (TypeError, ValueError, RuntimeError, OSError) as error:
                seen.append(error)
        return seen

    assert isinstance(same_on_both(scenario).value[0], dict)


def test_removing_a_signal_handler_twice() -> None:
    def scenario(loop: Loop) -> list[Any]:
        loop.add_signal_handler(signal.SIGUSR1, nothing)
        loop.add_signal_handler(signal.SIGUSR1, nothing)
        return [loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1)]

    assert same_on_both(scenario).value == [True, False]


def test_a_signal_handler_that_raises_reaches_the_exception_handler() -> None:
    def scenario(loop: Loop) -> None:
        def fail() -> None:
            raise ValueError("in a signal handler")

        loop.add_signal_handler(signal.SIGUSR1, fail)
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.remove_signal_handler(signal.SIGUSR1)

    assert len(same_on_both(scenario).contexts) == 1


# --- times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "delay",
    [None, "1", -5, -1e300, 1e300, float("inf"), float("-inf"), float("nan"), 10**400, True, 1e-30],
    ids=str,
)
@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_a_strange_time(method: str, delay: Any) -> None:
    if method == "call_at" and delay in ("1", 10**400):
        pytest.skip("asyncio takes it, and then its timers no longer compare")

    def scenario(loop: Loop) -> list[Any]:
        ran: list[Any] = []
        try:
            handle = getattr(loop, method)(delay, ran.append, "ran")
        except (TypeError, OverflowError) as error:
            return [OnlyType(error)]
        turn(loop, 3)
        handle.cancel()
        return ran

    same_on_both(scenario)


# --- settings -----------------------------------------------------------------------------------------------


def test_settings_of_a_wrong_type_are_refused() -> None:
    def scenario(loop: Loop) -> list[BaseException]:
        errors: list[BaseException] = []
        for call in (loop.set_task_factory, loop.set_exception_handler, loop.set_default_executor):
            try:
                call(3)
            except TypeError as error:
                errors.append(error)
        return errors

    assert len(same_on_both(scenario).value) == 3


def test_an_exception_handler_that_raises_is_logged() -> None:
    def scenario(loop: Loop) -> None:
        def fail(*_: object) -> None:
            raise ValueError("in the exception handler")

        loop.set_exception_handler(fail)
        loop.call_exception_handler({"message": "something", "exception": KeyError("k")})
        loop.call_soon(lambda: 1 / 0)
        turn(loop)

    assert len(same_on_both(scenario).logs) == 2


def test_a_context_without_a_message_is_logged() -> None:
    def scenario(loop: Loop) -> None:
        loop.set_exception_handler(None)
        loop.call_exception_handler({})
        loop.call_exception_handler({"message": "", "other": 1})

    assert len(same_on_both(scenario).logs) == 2


def test_a_context_of_a_wrong_type_is_refused() -> None:
    def scenario(loop: Loop) -> list[BaseException]:
        errors: list[BaseException] = []
        for context in (3, "text"):
            try:
                loop.call_soon(nothing, context=context)  # type: ignore[arg-type]
                turn(loop)
            except Exception as error:
                errors.append(error)
        loop.call_soon(nothing, context=contextvars.Context())
        turn(loop)
        return [type(error) for error in errors]

    same_on_both(scenario)


# --- subprocesses -------------------------------------------------------------------------------------------


def test_a_subprocess_with_wrong_arguments() -> None:
    async def main(loop: Loop) -> list[BaseException]:
        errors: list[BaseException] = []
        for call in (
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "/no/such/program"),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "/"),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", cwd="/no/such/folder"),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", text=True),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", universal_newlines=True),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", bufsize=1),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", encoding="utf-8"),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "true", shell=True),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, "nul\0byte"),
            lambda: loop.subprocess_exec(asyncio.SubprocessProtocol, 3),
            lambda: loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"]),
            lambda: loop.subprocess_shell(asyncio.SubprocessProtocol, "true", shell=False),
        ):
            try:
                await call()
            except (OSError, ValueError, TypeError) as error:
                errors.append(error)
        return errors

    assert len(same_on_both(awaiting(main)).value) == 12
