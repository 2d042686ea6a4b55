"""Rust futures that Python awaits, and Python's awaitables that Rust awaits, on each loop."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Loops = Callable[[], asyncio.AbstractEventLoop]


@pytest.mark.parametrize("value", [None, 1, (1, 2), ValueError(3)])
def test_a_ready_future_gives_its_value(kv_client: ModuleType, runner: asyncio.Runner, value: object) -> None:
    async def main() -> None:
        assert await kv_client.ready(value) is value
        assert await asyncio.create_task(kv_client.ready(value)) is value
        assert list(await asyncio.gather(kv_client.ready(value), kv_client.ready(2))) == [value, 2]

    runner.run(main())


def test_a_future_is_awaited_once(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        future = kv_client.ready(1)
        await future
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await future

    runner.run(main())


def test_a_future_of_nothing_gives_none(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        assert await kv_client.pause(0.0) is None
        assert await kv_client.ready(()) == ()
        with pytest.raises(StopIteration) as ended:
            kv_client.ready(None).send(None)
        assert ended.value.value is None

    runner.run(main())


def test_a_panic_is_an_exception(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        task = asyncio.create_task(kv_client.fault())
        with pytest.raises(BaseException, match="a fault in the extension") as caught:
            await task
        assert type(caught.value).__name__ == "PanicException"

    runner.run(main())


def test_a_gate_is_opened_on_the_loops_thread_and_on_another(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = kv_client.Gate()
        loop.call_soon(gate.open)
        await gate.wait()
        for _ in range(200):
            gate = kv_client.Gate()
            thread = threading.Thread(target=gate.open)
            loop.call_soon(thread.start)
            await gate.wait()
            thread.join()

    runner.run(main())


def test_results_of_threads(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        assert await asyncio.gather(*(kv_client.digest(b"a", n) for n in (0, 1, 1))) == [0, 97, 97]

    runner.run(main())


def test_loops_in_several_threads(kv_client: ModuleType, new_loop: Loops) -> None:
    results = []

    def work() -> None:
        async def main() -> int:
            total: int = sum(await asyncio.gather(*(kv_client.digest(b"a", 1) for _ in range(50))))
            return total

        with asyncio.Runner(loop_factory=new_loop) as runner:
            results.append(runner.run(main()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [97 * 50] * 4


def test_cancelling_drops_the_future(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    async def main() -> None:
        gate = kv_client.Gate()
        task = asyncio.create_task(gate.wait())
        await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert not gate.open()

    runner.run(main())


def test_cancelling_reaches_the_awaitable_behind_rust(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    ends = []

    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(kv_client.relay(inner()))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):
            await asyncio.sleep(0)
        assert ends == ["cancelled"]

    runner.run(main())


def test_context_variables_and_exceptions_come_through(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def inner() -> str:
        await asyncio.sleep(0)
        return variable.get()

    async def failing() -> None:
        raise KeyError("gone")

    async def main() -> None:
        variable.set("kept")
        assert await kv_client.relay(inner()) == "kept"
        with pytest.raises(KeyError, match="gone"):
            await kv_client.relay(failing())

    runner.run(main())


def test_a_waker_after_the_loop_has_closed_does_nothing(kv_client: ModuleType, new_loop: Loops) -> None:
    for opened_elsewhere in (False, True):
        loop = new_loop()
        gate = kv_client.Gate()
        task = loop.create_task(gate.wait())
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        if opened_elsewhere:
            thread = threading.Thread(target=gate.open)
            thread.start()
            thread.join()
        else:
            gate.open()
        assert not task.done()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()


def test_another_thread_neither_polls_nor_drops_a_future(kv_client: ModuleType, runner: asyncio.Runner) -> None:
    class Value:
        pass

    async def main() -> None:
        value = Value()
        gone = weakref.ref(value)
        held = [kv_client.ready(value)]
        del value
        errors = []

        def elsewhere() -> None:
            try:
                held[0].send(None)
            except RuntimeError as error:
                errors.append(str(error))
            held.clear()

        await asyncio.to_thread(elsewhere)
        assert errors == ["a Rust future is awaited on the thread that made it"]
        assert gone() is not None
        await kv_client.ready(None)
        assert gone() is None

    runner.run(main())


def test_nothing_is_left_of_many(kv_client: ModuleType, new_loop: Loops) -> None:
    class Value:
        pass

    async def main(values: list[weakref.ref[Value]]) -> None:
        for _ in range(100):
            value = Value()
            values.append(weakref.ref(value))
            assert await kv_client.relay(kv_client.ready(value)) is value
        gates = [kv_client.Gate() for _ in range(100)]
        tasks = [asyncio.create_task(gate.wait()) for gate in gates]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        values: list[weakref.ref[Value]] = []
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main(values))
        del runner
        gc.collect()
        assert [value for value in values if value() is not None] == []
    # The eventfd of the last loop of this thread may wait for the next one.
    assert len(os.listdir("/proc/self/fd")) <= before + 1


END = """
import asyncio, importlib.util, os, sys, threading
spec = importlib.util.spec_from_file_location("kv_client", sys.argv[1])
kv_client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kv_client)
if sys.argv[2] == "ferrio":
    from ferrio import new_event_loop
else:
    new_event_loop = asyncio.SelectorEventLoop
gates = []

def start():
    loop = new_event_loop()
    gates.append(kv_client.Gate())
    task = loop.create_task(gates[-1].wait())
    task._log_destroy_pending = False
    digest = loop.create_task(kv_client.digest(bytes(1000), 100_000))
    digest._log_destroy_pending = False
    loop.call_soon(loop.stop)
    loop.run_forever()
    return loop, task, digest
"""
ENDS = {
    "in the middle": "kept = start()",
    "in a daemon thread": "loops = []\n"
    "def run():\n    loops.append(start())\n    loops[0][0].run_forever()\n"
    "threading.Thread(target=run, daemon=True).start()\n"
    "while not loops: pass",
    "in a forked child": "kept = start()\nchild = os.fork()\n"
    "if not child:\n    gates[0].open()\n    kept = start()\n    sys.exit(0)\n"
    "assert os.waitpid(child, 0)[1] == 0\n"
    "assert not kept[1].done()",
}


@pytest.mark.parametrize("program", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("name", ["ferrio", "asyncio"])
def test_an_interpreter_ends_quietly(library: Path, name: str, program: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", END + program, str(library), name]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_panic_while_a_future_is_dropped_is_reported_and_the_thread_goes_on(
    kv_client: ModuleType, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reported.append(str(report.exc_value)))

    async def main() -> None:
        task = asyncio.create_task(kv_client.fault_when_dropped())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reported == ["a fault in a destructor"]
        # Wakes on this thread still reach their tasks.
        gate = kv_client.Gate()
        asyncio.get_running_loop().call_soon(gate.open)
        await asyncio.wait_for(gate.wait(), 30)

    runner.run(main())
