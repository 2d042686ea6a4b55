"""What type checkers must find of ferrio's public names: checked with ``mypy --strict``, never run."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import assert_type

import ferrio
import ferrio.asyncio as namespace


async def number() -> int:
    return 1


def add(left: int, right: str) -> None:
    pass


assert_type(ferrio.run(number()), int)
assert_type(ferrio.run(number(), debug=True, loop_factory=ferrio.Loop), int)
assert_type(ferrio.new_event_loop(), ferrio.Loop)
assert_type(ferrio.__version__, str)
assert_type(ferrio.install(), None)
assert_type(ferrio.uninstall(), None)

with ferrio.Runner(debug=None, loop_factory=ferrio.new_event_loop) as runner:
    assert_type(runner.run(number()), int)
    assert_type(runner.get_loop(), asyncio.AbstractEventLoop)

with asyncio.Runner(loop_factory=ferrio.new_event_loop) as other_runner:
    other_runner.run(number())

factory: Callable[[], asyncio.AbstractEventLoop] = ferrio.Loop
loop = ferrio.Loop()
abstract: asyncio.AbstractEventLoop = loop
handle: asyncio.Handle = loop.call_soon(add, 1, "two")
handle = loop.call_soon_threadsafe(add, 1, "two")
timer: asyncio.TimerHandle = loop.call_later(1, add, 1, "two")
timer = loop.call_at(1.5, add, 1, "two")
assert_type(timer.when(), float)
assert_type(loop.time(), float)
assert_type(loop.is_running(), bool)
assert_type(loop.is_closed(), bool)
assert_type(loop.get_debug(), bool)
assert_type(loop.statistics(), ferrio.Statistics)
assert_type(loop.statistics().max_timer_lag, float)
assert_type(loop.histograms().turns.quantile(0.5), float)
assert_type(loop.run_until_complete(number()), int)
loop.call_soon(add, 1)  # type: ignore[arg-type]
loop.call_later("1", add, 1, "two")  # type: ignore[arg-type]
loop.nonsense()  # type: ignore[attr-defined]
with contextlib.closing(loop):
    loop.stop()


async def in_the_namespace() -> None:
    lock = namespace.Lock()
    async with lock:
        await namespace.sleep(0)
    assert_type(await namespace.sleep(0, "result"), str)
    queue: namespace.Queue[int] = namespace.Queue()
    assert_type(await queue.get(), int)
    assert_type(namespace.new_event_loop(), ferrio.Loop)
    own: asyncio.Queue[int] = queue
    own.put_nowait("text")  # type: ignore[arg-type]
    async with namespace.timeout(1), namespace.TaskGroup() as group:
        group.create_task(number())
    namespace.subprocess.PIPE.bit_length()


assert_type(namespace.run(number()), int)
