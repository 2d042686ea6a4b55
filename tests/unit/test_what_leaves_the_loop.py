"""Only `SystemExit` and `KeyboardInterrupt` leave the loop, from wherever it calls, and they leave nothing undone.

`tests/parity/test_failing_*` compare with asyncio. Here is what asyncio does not promise: there some of this ends the
loop, or leaves a transport in a state that it does not get out of.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .connections import connect
from .loops import ferrio_only, run, run_until, turn
from .socket_pairs import tcp_pair

Loop = asyncio.AbstractEventLoop

pytestmark = ferrio_only
each_exit = pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit])


def fail(*args: object) -> None:
    raise LookupError("theirs")


def raiser(exception: type[BaseException]) -> Callable[..., None]:
    left = [exception("theirs")]

    def raise_it(*args: object) -> None:
        if left:
            raise left.pop()

    return raise_it


def goes_on(loop: Loop) -> bool:
    return run(loop, asyncio.sleep(0, True))


def test_a_replaced_report_that_raises_is_logged(make_loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    loop = make_loop()
    loop.call_exception_handler = fail
    loop.call_soon(fail)
    connection = connect(loop)
    connection.protocol.data_received = fail  # type: ignore[method-assign]
    connection.peer.send(b"data")
    run_until(loop, lambda: len(caplog.records) == 2)
    for record in caplog.records:
        assert record.getMessage() == "Unhandled error in exception handler"
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], LookupError)
        assert isinstance(record.exc_info[1].__context__, LookupError)
    del loop.call_exception_handler
    assert goes_on(loop)
    connection.transport.abort()
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


@each_exit
def test_a_replaced_report_may_leave_the_loop(make_loop: Any, exit_: type[BaseException]) -> None:
    loop = make_loop()
    loop.call_exception_handler = raiser(exit_)
    loop.call_soon(fail)
    with pytest.raises(exit_, match="theirs"):
        loop.run_forever()
    assert goes_on(loop)


def test_a_callback_that_cannot_be_shown_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    class Shy:
        def __call__(self) -> None:
            raise LookupError("theirs")

        def __repr__(self) -> str:
            raise RuntimeError("no picture")

    loop.call_soon(Shy())
    turn(loop)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)
    assert isinstance(record.exc_info[1].__context__, LookupError)
    assert goes_on(loop)


def test_a_handle_that_runs_in_its_own_way_and_raises_is_told(loop: Any, contexts: list[dict[str, Any]]) -> None:
    class Own(asyncio.Handle):
        def _run(self) -> None:
            raise LookupError("theirs")

    handle = Own(print, ("never",), loop)
    loop._add_callback(handle)
    turn(loop)
    # It is run natively, as long as nobody has changed its slots: `_run` is not asked.
    assert goes_on(loop)
    handle = Own(print, ("never",), loop)
    handle._args = ["no tuple"]  # type: ignore[attr-defined]
    loop._add_callback(handle)
    turn(loop)
    (told,) = contexts
    assert isinstance(told["exception"], LookupError)
    assert told["handle"] is handle


class Raising(logging.Handler):
    """Raises for a given message, the first time."""

    def __init__(self, start: str, exception: type[BaseException]) -> None:
        super().__init__()
        self.start, self.raise_it = start, raiser(exception)

    def emit(self, record: logging.LogRecord) -> None:
        if self.start in record.getMessage():
            self.raise_it()


@pytest.fixture
def raise_when_logged() -> Iterator[Callable[[str, type[BaseException]], None]]:
    logger = logging.getLogger("asyncio")
    level = logger.level
    handlers: list[Raising] = []

    def add(start: str, exception: type[BaseException]) -> None:
        handlers.append(Raising(start, exception))
        logger.addHandler(handlers[-1])
        logger.setLevel(logging.DEBUG)

    yield add
    logger.setLevel(level)
    for handler in handlers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("exception", [LookupError, KeyboardInterrupt, SystemExit])
def test_every_connection_that_a_callback_wrote_to_is_sent_whatever_one_comes_to(
    loop: Loop,
    contexts: list[dict[str, Any]],
    raise_when_logged: Callable[[str, type[BaseException]], None],
    exception: type[BaseException],
) -> None:
    broken, sound = connect(loop, pair=tcp_pair), connect(loop, pair=tcp_pair)
    broken.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    broken.transport.pause_reading()
    broken.peer.close()
    loop.set_debug(True)
    raise_when_logged("Fatal write error", exception)

    def write() -> None:
        broken.transport.write(b"to nobody")
        sound.transport.write(b"to somebody")

    loop.call_soon(write)
    if exception is LookupError:
        turn(loop)
        (told,) = contexts
        assert isinstance(told["exception"], LookupError)
    else:
        with pytest.raises(exception, match="theirs"):
            turn(loop)
    sound.peer.settimeout(1)
    assert sound.peer.recv(100) == b"to somebody"
    loop.set_debug(False)
    for connection in (broken, sound):
        connection.transport.abort()
        run_until(loop, lambda connection=connection: connection.protocol.is_lost)
    sound.peer.close()


@each_exit
@pytest.mark.parametrize("ending", ["close", "write_eof", "none"])
def test_an_exit_from_resume_writing_leaves_nothing_undone(loop: Loop, exit_: type[BaseException], ending: str) -> None:
    connection = connect(loop, pair=tcp_pair)
    protocol, transport = connection.protocol, connection.transport
    protocol.resume_writing = raiser(exit_)  # type: ignore[method-assign]
    connection.peer.setblocking(False)
    while not transport.get_write_buffer_size():
        transport.write(bytes(1 << 20))
    if ending != "none":
        getattr(transport, ending)()
    is_over = False
    left = 0
    for _ in range(10_000):
        with contextlib.suppress(BlockingIOError):
            is_over = not connection.peer.recv(1 << 20) or is_over
        try:
            turn(loop)
        except exit_:
            left += 1
        if is_over or (ending == "none" and left):
            break
    assert left == 1
    if ending == "close":
        run_until(loop, lambda: protocol.is_lost)
    else:
        assert is_over is (ending == "write_eof")
        transport.abort()
        run_until(loop, lambda: protocol.is_lost)
    connection.peer.close()


@each_exit
def test_an_exit_from_connection_lost_is_not_lost_for_an_error_behind_it(
    loop: Loop, exit_: type[BaseException]
) -> None:
    connection = connect(loop, pair=tcp_pair)
    connection.protocol.connection_lost = raiser(exit_)  # type: ignore[method-assign]
    # A future that takes no result, as a cancelled sendfile() leaves one behind.
    transport: Any = connection.transport
    transport._empty_waiter = loop.create_future()
    transport._empty_waiter.cancel()
    transport.abort()
    with pytest.raises(exit_, match="theirs"):
        turn(loop)
    assert transport._sock is None
    assert goes_on(loop)
    connection.peer.close()


@each_exit
def test_after_an_exit_while_reading_the_same_connection_still_sends(loop: Loop, exit_: type[BaseException]) -> None:
    """Both directions were announced at once: what was not done in this run is done in the next."""
    connection = connect(loop, pair=tcp_pair)
    connection.protocol.data_received = raiser(exit_)  # type: ignore[method-assign]
    connection.peer.setblocking(False)
    count = 0
    while not connection.transport.get_write_buffer_size():
        connection.transport.write(bytes(1 << 20))
        count += 1 << 20
    received = len(connection.peer.recv(1 << 24))
    connection.peer.send(b"data")
    with pytest.raises(exit_, match="theirs"):
        loop.run_forever()
    for _ in range(100_000):
        try:
            received += len(connection.peer.recv(1 << 20))
        except BlockingIOError:
            turn(loop)
        if received == count:
            break
    assert received == count
    connection.transport.abort()
    run_until(loop, lambda: connection.protocol.is_lost)
    connection.peer.close()


def test_a_waiter_that_takes_no_result_is_told_of(make_loop: Any, contexts: list[dict[str, Any]]) -> None:
    class Waiter(asyncio.Future[Any]):
        def set_result(self, result: object) -> None:
            super().set_result(result)
            raise LookupError("theirs")

    loop = make_loop()
    loop.create_future = lambda: Waiter(loop=loop)
    connection = connect(loop)
    (told,) = contexts
    assert isinstance(told["exception"], LookupError)
    assert told["message"].startswith("Exception in callback _set_result_unless_cancelled(")
    assert isinstance(told["handle"], asyncio.Handle)
    connection.transport.abort()
    connection.peer.close()
    run_until(loop, lambda: connection.protocol.is_lost)
