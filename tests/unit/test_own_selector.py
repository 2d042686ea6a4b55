"""A loop over a selector of the program's is asyncio's own loop, whichever class it was made by."""

import asyncio
import gc
import inspect
import selectors
import subprocess
import sys
import weakref
from typing import Any

import pytest

import ferrio
import ferrio.asyncio

from .loops import LIMIT_S, open_descriptors


class Counting(selectors.DefaultSelector):
    """A selector that records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self.watched: list[Any] = []

    def select(self, timeout: float | None = None) -> Any:
        self.waits.append(timeout)
        return super().select(timeout)

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        self.watched.append(fileobj)
        return super().register(fileobj, events, data)


class NotesCalls:
    """A program's mixin before the loop's own methods."""

    calls: int

    def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:
        self.calls = getattr(self, "calls", 0) + 1
        handle: asyncio.Handle = super().call_soon(*args, **options)  # type: ignore[misc]
        return handle


class Subclass(NotesCalls, ferrio.Loop):
    def __init__(self) -> None:
        self.set_before = True
        super().__init__(Counting())
        self.set_after = True

    def run_forever(self) -> None:
        super().run_forever()


class WithoutSuper(ferrio.Loop):
    def __init__(self) -> None:
        ferrio.Loop.__init__(self, selector=Counting())


def of_the_class() -> Any:
    return ferrio.Loop(Counting())


def of_the_namespace() -> Any:
    return ferrio.asyncio.SelectorEventLoop(Counting())


each_way = pytest.mark.parametrize("make", [of_the_class, of_the_namespace, Subclass, WithoutSuper])


async def everything() -> None:
    """Use a bit of everything: timers, tasks, connections, children, signals, Ferrio's primitives."""
    aio: Any = ferrio.asyncio
    loop = asyncio.get_running_loop()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(10))
        writer.close()

    async with aio.timeout(LIMIT_S):
        assert await aio.wait_for(aio.sleep(0.001, "slept"), 1) == "slept"
        with pytest.raises(TimeoutError):
            await aio.wait_for(aio.Event().wait(), 0.001)
        queue = aio.Queue(1)
        async with aio.TaskGroup() as group:
            group.create_task(queue.put(1))
            group.create_task(queue.put(2))
            assert [await queue.get(), await queue.get()] == [1, 2]
        assert await aio.gather(aio.sleep(0, 1), aio.shield(aio.sleep(0, 2))) == [1, 2]
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"text")
        assert await reader.read() == b"text"
        writer.close()
        server.close()
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
        assert await loop.run_in_executor(None, int) == 0


@each_way
@pytest.mark.parametrize("debug", [False, True])
def test_a_selector_of_ones_own_is_asked(make: Any, debug: bool) -> None:
    loop = make()
    selector = loop._selector
    assert isinstance(selector, Counting)
    loop.set_debug(debug)
    loop.run_until_complete(everything())
    assert len(selector.waits) > 10
    assert len(selector.watched) > 4
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert loop.is_closed()
    assert selector.get_map() is None


@each_way
def test_such_a_loop_is_of_its_class_and_has_asyncios_methods(make: Any) -> None:
    loop = make()
    assert isinstance(loop, ferrio.Loop)
    assert isinstance(loop, asyncio.SelectorEventLoop)
    if isinstance(make, type):
        assert isinstance(loop, make)
        assert type(loop).__qualname__ == make.__qualname__
    else:
        again = make()
        assert type(loop) is type(again)
        again.close()
    assert repr(loop) == f"<{type(loop).__name__} running=False closed=False debug=False>"
    mixed = vars(NotesCalls)
    for name, method in inspect.getmembers(asyncio.SelectorEventLoop, inspect.isfunction):
        if name not in vars(type(loop).__mro__[1]) and name not in mixed:
            assert inspect.getattr_static(loop, name) is method, name
    assert vars(loop)["_selector"] is loop._selector
    loop.close()


def test_a_subclass_keeps_its_own_methods_and_attributes() -> None:
    loop = Subclass()
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.calls >= 2
    assert loop.set_before
    assert loop.set_after
    loop.close()


def test_a_subclass_without_a_selector_is_ferrios() -> None:
    class Plain(ferrio.Loop):
        pass

    asking = Subclass()
    loop = Plain()
    assert type(loop) is Plain
    assert loop.call_soon.__self__ is loop
    assert not inspect.isfunction(inspect.getattr_static(loop, "call_soon"))
    loop.close()
    asking.close()


@each_way
def test_such_a_loop_leaves_no_descriptor_and_can_be_collected(make: Any) -> None:
    make().close()
    gc.collect()
    before = open_descriptors()
    loop = make()
    loop.run_until_complete(asyncio.sleep(0))
    reference = weakref.ref(loop)
    loop.close()
    # The native half's have gone already.
    assert open_descriptors() == before
    del loop
    gc.collect()
    assert reference() is None


def test_a_class_that_made_such_a_loop_can_be_collected() -> None:
    class Passing(ferrio.Loop):
        pass

    loop = Passing(selectors.SelectSelector())
    loop.close()
    reference = weakref.ref(Passing)
    del loop, Passing
    gc.collect()
    assert reference() is None


def test_a_metaclass_of_a_programs_is_kept() -> None:
    import abc

    class Abstract(ferrio.Loop, abc.ABC):
        pass

    loop = Abstract(selectors.PollSelector())
    assert isinstance(type(loop), abc.ABCMeta)
    assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
    loop.close()


def test_after_install_asyncios_name_asks_too() -> None:
    code = """
        import asyncio, selectors, ferrio
        ferrio.install()
        asked = []

        class Noting(selectors.SelectSelector):
            def select(self, timeout=None):
                asked.append(timeout)
                return super().select(timeout)

        class Mine(asyncio.SelectorEventLoop):
            def __init__(self):
                super().__init__(Noting())

        for make in (Mine, lambda: asyncio.SelectorEventLoop(Noting())):
            asked.clear()
            with asyncio.Runner(loop_factory=make) as runner:
                runner.run(asyncio.sleep(0.001))
            assert len(asked) > 2, asked
        assert type(asyncio.new_event_loop()) is ferrio.Loop
    """
    done = subprocess.run([sys.executable, "-c", inspect.cleandoc(code)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_loop_of_ferrios_refuses_nested_runs_but_turns_for_who_has_replaced_them(monkeypatch: Any) -> None:
    # As nest_asyncio does.
    def run_until_complete(self: Any, future: Any) -> Any:
        done = asyncio.ensure_future(future, loop=self)
        running = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(self)
        try:
            while not done.done():
                self._run_once()
        finally:
            asyncio.events._set_running_loop(running)
        return done.result()

    def theirs(self: Any) -> None:
        raise AssertionError("asyncio's turn, in Python")

    monkeypatch.setattr(ferrio.Loop, "run_until_complete", run_until_complete)
    monkeypatch.setattr(ferrio.Loop, "_run_once", theirs, raising=False)

    async def main() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        inner = loop.run_until_complete(asyncio.sleep(0.001, "inner"))
        assert asyncio.current_task() is task
        await asyncio.sleep(0)
        return inner

    loop = ferrio.Loop()
    assert loop.run_until_complete(main()) == "inner"
    loop.close()


def test_a_subclass_with_a_turn_of_its_own_keeps_it() -> None:
    class Turning(ferrio.Loop):
        turns = 0

        def _run_once(self) -> None:
            self.turns += 1
            super()._run_once()

    loop = Turning()
    loop.call_soon(int)
    loop._run_once()
    assert loop.turns == 1
    loop.close()
