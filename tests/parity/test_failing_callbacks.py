"""Callbacks, exception handlers, awaitables, buffers and sockets that raise or have an unexpected type."""

import array
import asyncio
import collections.abc
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from unit.socket_pairs import tcp_pair

from .conftest import Play
from .failures import EXITS, FAILURES
from .observation import Diary
from .protocols import Noted, NotedBuffered, fail_with, turns

Maker = Callable[[], BaseException]
every_failure = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)


def raiser(diary: Diary, failure: Maker) -> Callable[..., None]:
    def fail(*args: object) -> None:
        diary("called", len(args))
        raise failure()

    return fail


# --- callbacks ------------------------------------------------------------------------------------------------


async def by_call_soon(loop: Any, fail: Callable[..., None]) -> None:
    loop.call_soon(fail, 1)
    await turns(2)


async def by_a_timer(loop: Any, fail: Callable[..., None]) -> None:
    loop.call_later(0, fail, 1, 2)
    loop.call_at(loop.time(), fail)
    await asyncio.sleep(0.002)


async def from_a_thread(loop: Any, fail: Callable[..., None]) -> None:
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(fail,))
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)
    await turns(2)


async def by_a_reader(loop: Any, fail: Callable[..., None]) -> None:
    near, far = socket.socketpair()
    with near, far:
        loop.add_reader(near, fail)
        far.send(b"data")
        await turns(2)
        loop.remove_reader(near)


async def by_a_reader_that_removes_itself(loop: Any, fail: Callable[..., None]) -> None:
    near, far = socket.socketpair()

    def remove_and_fail() -> None:
        loop.remove_reader(near)
        fail()

    with near, far:
        loop.add_reader(near, remove_and_fail)
        far.send(b"data")
        await turns(3)


async def by_a_writer(loop: Any, fail: Callable[..., None]) -> None:
    near, far = socket.socketpair()
    with near, far:
        loop.add_writer(near, fail, 1)
        await turns(2)
        loop.remove_writer(near)


async def by_a_done_callback(loop: Any, fail: Callable[..., None]) -> None:
    future = loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)
    await turns(2)
    task = loop.create_task(asyncio.sleep(0))
    task.add_done_callback(fail)
    await turns(4)


async def by_a_signal(loop: Any, fail: Callable[..., None]) -> None:
    loop.add_signal_handler(signal.SIGUSR1, fail)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.sleep(0.005)
    loop.remove_signal_handler(signal.SIGUSR1)


WAYS = [
    by_call_soon,
    by_a_timer,
    from_a_thread,
    by_a_reader,
    by_a_reader_that_removes_itself,
    by_a_writer,
    by_a_done_callback,
    by_a_signal,
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@each_way
def test_a_callback_that_raises(scenario_in_both_modes: Play, way: Callable[..., Any]) -> None:
    async def play(diary: Diary) -> None:
        for failure in FAILURES.values():
            await way(diary.loop, raiser(diary, failure))

    seen = scenario_in_both_modes(play)
    assert len(seen.contexts) >= len(FAILURES)


@each_way
def test_a_callback_that_leaves_the_loop(scenario_that_runs_again: Play, way: Callable[..., Any]) -> None:
    async def play(diary: Diary) -> None:
        for failure in EXITS.values():
            await way(diary.loop, raiser(diary, failure))

    seen = scenario_that_runs_again(play)
    assert seen.events.count("left the loop") >= len(EXITS)


def test_an_exception_handler_that_raises(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        for failure in FAILURES.values():
            diary.loop.set_exception_handler(raiser(diary, failure))
            await by_call_soon(diary.loop, raiser(diary, lambda: LookupError("first")))
            protocol = Noted(diary, at={"data_received": fail_with(LookupError("first"))})
            ours, peer = socket.socketpair()
            await diary.loop.create_connection(lambda protocol=protocol: protocol, sock=ours)
            peer.send(b"data")
            await protocol.lost
            peer.close()

    seen = scenario(play)
    assert not seen.contexts
    assert len(seen.logged) >= 2 * len(FAILURES)


def test_a_default_exception_handler_that_raises(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        diary.loop.set_exception_handler(None)
        for failure in FAILURES.values():
            diary.loop.default_exception_handler = raiser(diary, failure)  # type: ignore[method-assign]
            await by_call_soon(diary.loop, raiser(diary, lambda: LookupError("first")))
        del diary.loop.default_exception_handler

    scenario(play)


def test_an_exception_handler_that_leaves_the_loop(scenario_that_runs_again: Play) -> None:
    async def play(diary: Diary) -> None:
        for failure in EXITS.values():
            diary.loop.set_exception_handler(raiser(diary, failure))
            await by_call_soon(diary.loop, raiser(diary, lambda: LookupError("first")))
            protocol = Noted(diary, at={"data_received": fail_with(LookupError("first"))})
            ours, peer = socket.socketpair()
            transport, _ = await diary.loop.create_connection(lambda protocol=protocol: protocol, sock=ours)
            peer.send(b"data")
            await turns(4)
            transport.abort()
            await protocol.lost
            peer.close()

    seen = scenario_that_runs_again(play)
    assert seen.events.count("left the loop") == 2 * len(EXITS)


def test_an_executors_function_that_raises(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        for failure in FAILURES.values():
            future = diary.loop.run_in_executor(None, raiser(diary, failure), 1)
            await asyncio.wait([future])
            diary("ended", "cancelled" if future.cancelled() else future.exception())

    scenario_in_both_modes(play)


def test_a_task_factory_that_raises(scenario: Play) -> None:
    async def play(diary: Diary) -> None:
        for failure in FAILURES.values():
            server = await diary.loop.create_server(lambda: Noted(diary), "127.0.0.1", 0)

            def make_none(loop: Any, coro: Any, failure: Maker = failure, **_: Any) -> Any:
                coro.close()
                raise failure()

            diary.loop.set_task_factory(make_none)
            peer = socket.create_connection(server.sockets[0].getsockname())
            for _ in range(4):
                await asyncio.sleep(0.0005)
            diary.loop.set_task_factory(None)
            peer.close()
            server.close()
            await server.wait_closed()

    scenario(play)


@pytest.mark.parametrize("method", ["factory", "connection_made", "connection_lost"])
def test_a_server_whose_connections_fail(scenario_in_both_modes: Play, method: str) -> None:
    async def play(diary: Diary) -> None:
        for name, failure in FAILURES.items():
            made: list[Noted] = []
            calls: list[str] = []

            def factory(name: str = name, failure: Maker = failure, made: Any = made, calls: Any = calls) -> Noted:
                calls.append(name)
                at = {method: fail_with(failure())} if len(calls) == 1 else {}
                if at and method == "factory":
                    raise failure()
                made.append(Noted(diary, name, at=at))
                return made[-1]

            server = await diary.loop.create_server(factory, "127.0.0.1", 0)
            peers = []
            for count in (1, 2):
                peers.append(socket.create_connection(server.sockets[0].getsockname()))
                while len(calls) < count:
                    await asyncio.sleep(0)
                await turns(4)
            for protocol in made:
                if protocol.transport is not None:
                    protocol.transport.abort()
            await turns(3)
            for peer in peers:
                peer.close()
            server.close()
            await turns(3)

    scenario_in_both_modes(play)


# --- awaitables -----------------------------------------------------------------------------------------------


class Awaitable:
    """An iterator whose steps do what *steps* say: yield a value, or raise."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if not self.steps:
            raise StopIteration("over")
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step


class Coroutine(Awaitable, collections.abc.Coroutine[Any, Any, Any]):
    """Like `Awaitable`, but usable as a task's coroutine."""

    def __init__(self, *steps: Any, throw: BaseException | None = None, close: BaseException | None = None) -> None:
        super().__init__(*steps)
        self.at_throw, self.at_close = throw, close

    def send(self, value: Any) -> Any:
        return next(self)

    def throw(self, *error: Any) -> Any:
        if self.at_throw is not None:
            raise self.at_throw
        return next(self)

    def close(self) -> None:
        if self.at_close is not None:
            raise self.at_close


class FutureLike:
    """An object that a task treats as a future; its member called *bad* raises."""

    def __init__(self, loop: Any, bad: str, failure: Maker) -> None:
        self._loop, self.bad, self.failure = loop, bad, failure
        self._blocking = True

    def _check(self, name: str) -> None:
        if name == self.bad:
            raise self.failure()

    @property
    def _asyncio_future_blocking(self) -> bool:
        self._check("blocking")
        return self._blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value: bool) -> None:
        self._check("set blocking")
        self._blocking = value

    def get_loop(self) -> Any:
        self._check("get_loop")
        return self._loop

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self._check("add_done_callback")
        self._loop.call_soon(callback, self, context=context)

    def cancel(self, msg: Any = None) -> bool:
        self._check("cancel")
        return False

    def result(self) -> int:
        self._check("result")
        return 1

    def __await__(self) -> Generator[Any, None, str]:
        yield self
        return "resumed"


async def watched(diary: Diary, task: Any, event: str) -> None:
    await turns(8)
    if not task.done():
        diary(event, "pending")
        task.cancel()
        await turns(8)
    if not task.done():
        # Nothing wakes it any more: it is not to be waited for in the end.
        diary(event, "does not end")
        asyncio.tasks._unregister_task(task)  # type: ignore[attr-defined]
        task._log_destroy_pending = False
    elif task.cancelled():
        diary(event, "cancelled")
    else:
        diary(event, task.exception() or task.result())


def test_awaitables_whose_steps_raise(scenario_in_both_modes: Play) -> None:
    async def play(diary: Diary) -> None:
        async def wait_for(thing: Any) -> Any:
            return await thing

        for name, failure in FAILURES.items():
            for steps in ([failure()], [None, failure()], [diary.loop, failure()], [None, 1, failure()]):
                diary("case", name, len(steps))
                await watched(diary, diary.loop.create_task(wait_for(Awaitable(*steps))), "awaited")
                await watched(diary, diary.loop.create_task(Coroutine(*steps)), "task")  # type: ignore[arg-type]
            for bad in ("throw", "close"):
                coroutine = Coroutine(None, None, None, **{bad: failure()})  # type: ignore[arg-type]
                task: Any = diary.loop.create_task(coroutine)  # type: ignore[arg-type]
                await asyncio.sleep(0)
                task.cancel()
                await watched(diary, task, bad)

    scenario_in_both_modes(play)


def test_awaitables_that_are_none(scenario_in_both_modes: Play) -> None:
    class Bad:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def __await__(self) -> Any:
            return self.answer

    async def play(diary: Diary) -> None:
        async def wait_for(thing: Any) -> Any:
            return await thing

        for answer in (None, 1, [], iter([]), iter([None, None]), iter([1]), iter("text"), wait_for):
            await watched(diary, diary.loop.create_task(wait_for(Bad(answer))), "awaited")
        for thing in (1, None, "text", Bad, object(), lambda: None, (each for each in ())):
            await watched(diary, diary.loop.create_task(wait_for(thing)), "awaited")

    scenario_in_both_modes(play)


@every_failure
def test_futures_of_others_that_raise(scenario_in_both_modes: Play, failure: Maker) -> None:
    async def play(diary: Diary) -> None:
        async def wait_for(thing: Any) -> Any:
            return await thing

        for bad in ("blocking", "set blocking", "get_loop", "add_done_callback", "result", "cancel", "nothing"):
            diary("case", bad)
            task: Any = diary.loop.create_task(wait_for(FutureLike(diary.loop, bad, failure)))
            if bad == "cancel":
                await asyncio.sleep(0)
                try:
                    task.cancel()
                except BaseException as error:
                    diary("cancel", error)
            await watched(diary, task, "awaited")

    scenario_in_both_modes(play)


# --- buffers --------------------------------------------------------------------------------------------------


def released() -> memoryview:
    view = memoryview(bytearray(10))
    view.release()
    return view


class Length(bytearray):
    def __init__(self, length: Any) -> None:
        super().__init__(10)
        self.length = length

    def __len__(self) -> Any:
        if isinstance(self.length, BaseException):
            raise self.length
        return self.length


BUFFERS: dict[str, Callable[[], Any]] = {
    "released": released,
    "read-only view": lambda: memoryview(b"read-only"),
    "sparse view": lambda: memoryview(bytearray(10))[::2],
    "reversed view": lambda: memoryview(bytearray(10))[::-1],
    "two dimensions": lambda: memoryview(bytearray(12)).cast("B", (3, 4)),
    "no dimension": lambda: memoryview(bytearray(1)).cast("B", ()),
    "doubles": lambda: array.array("d", [0.0, 0.0]),
    "length negative": lambda: Length(-1),
    "length huge": lambda: Length(1 << 70),
    "length no number": lambda: Length("text"),
    "length too short": lambda: Length(1),
    "length raises": lambda: Length(LookupError("theirs")),
    "length raises a base": lambda: Length(FAILURES["BaseException"]()),
    "length cancelled": lambda: Length(asyncio.CancelledError("theirs")),
    "class": lambda: bytearray,
    "itself": object,
}


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_a_buffer_that_is_none(scenario: Play, make: Callable[[], Any]) -> None:
    class Bad(NotedBuffered):
        def get_buffer(self, sizehint: int) -> Any:
            self.note("get_buffer", sizehint)
            return make()

        def buffer_updated(self, nbytes: int) -> None:
            self.note("buffer_updated", nbytes)

    async def play(diary: Diary) -> None:
        protocol = Bad(diary)
        ours, peer = socket.socketpair()
        await diary.loop.create_connection(lambda: protocol, sock=ours)
        peer.send(b"data")
        await turns(4)
        peer.close()
        await protocol.lost

    scenario(play)


# --- sockets --------------------------------------------------------------------------------------------------


class Stubborn(socket.socket):
    """A socket whose `close` closes the descriptor and then raises, the first time."""

    failure: Maker | None = None

    def close(self) -> None:
        super().close()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure()


def stubborn(sock: socket.socket, failure: Maker) -> Stubborn:
    made = Stubborn(sock.family, sock.type, sock.proto, sock.detach())
    made.setblocking(False)
    made.failure = failure
    return made


@pytest.mark.parametrize("fails_too", [False, True], ids=["alone", "with connection_lost"])
@pytest.mark.parametrize("ending", ["close", "abort", "drained"])
def test_a_socket_whose_close_raises(scenario: Play, ending: str, fails_too: bool) -> None:
    async def play(diary: Diary) -> None:
        for failure in FAILURES.values():
            at = {"connection_lost": fail_with(LookupError("first"))} if fails_too else {}
            protocol = Noted(diary, at=at)
            near, peer = tcp_pair()
            peer.setblocking(False)
            sock = stubborn(near, failure)
            transport, _ = await diary.loop.create_connection(lambda protocol=protocol: protocol, sock=sock)
            if ending == "drained":
                transport.write(bytes(8 << 20))
                transport.close()
                while not protocol.lost.done():
                    with contextlib.suppress(BlockingIOError):
                        peer.recv(1 << 20)
                    await asyncio.sleep(0)
            else:
                getattr(transport, ending)()
            await protocol.lost
            await turns(3)
            # asyncio forgets its socket only if that could be closed, and warns of it in the end.
            with contextlib.suppress(AttributeError):
                transport._sock = None  # type: ignore[attr-defined]
            peer.close()

    seen = scenario(play)
    assert len(seen.contexts) == len(FAILURES)
