"""Callbacks of functions over awaitables, and iterators."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from .kinds import HAS_CALL_GRAPH, HAS_NATIVE_AS_COMPLETED, KINDS, Kind, Way, World, aio


def callback_kind(
    name: str, call: Callable[[Any], Any], find: Callable[[Any, Any, Any], Any], is_used: bool = True
) -> Kind:
    """The callback ``name`` that ``call(child)`` leaves; ``find(loop, child, outer)`` is where it may be found.

    Of what it leads to, the child, the outer future and the task that called hold a token.
    """

    def way(world: World, token: Any, holder: str) -> Any:
        async def main() -> Any:
            child = world.loop.create_future()
            outer = call(child)
            if asyncio.iscoroutine(outer):
                outer = world.loop.create_task(outer)
                outer._log_destroy_pending = False
                await asyncio.sleep(0)
            found = next(each for each in find(world.loop, child, outer) if type(each).__name__ == name)
            held = {"child": child, "outer": outer, "caller": asyncio.current_task()}[holder]
            if held is not None:
                held.token = token
            for timer in world.loop._scheduled:
                timer.cancel()
            return found

        return world.loop.run_until_complete(main())

    def leading(holder: str) -> Way:
        return lambda world, token: way(world, token, holder)

    holders = {
        "GatherCallback": ("child", "outer", "caller") if HAS_CALL_GRAPH else ("child", "outer"),
        "WaitCallback": ("outer",),
        "InnerCallback": ("outer",),
        "OuterCallback": ("child",),
        "AwaiterCallback": ("caller",),
        "CompletionCallback": ("child",),
        "TimeoutCallback": ("child",),
    }[name]
    return Kind(
        make=lambda world: way(world, None, holders[0]),
        ways={holder: leading(holder) for holder in holders},
        is_used=is_used,
    )


def callbacks_of(future: Any) -> Iterator[Any]:
    """The callbacks that a future shows."""
    return (callback for callback, _ in future._callbacks or ())


KINDS["GatherCallback"] = callback_kind(
    "GatherCallback", lambda child: aio.gather(child), lambda _, child, __: callbacks_of(child)
)
KINDS["WaitCallback"] = callback_kind(
    "WaitCallback", lambda child: aio.wait([child], timeout=10), lambda _, child, __: callbacks_of(child)
)
KINDS["InnerCallback"] = callback_kind(
    "InnerCallback", lambda child: aio.shield(child), lambda _, child, __: callbacks_of(child)
)
KINDS["OuterCallback"] = callback_kind(
    "OuterCallback", lambda child: aio.shield(child), lambda _, __, outer: callbacks_of(outer)
)
KINDS["AwaiterCallback"] = callback_kind(
    "AwaiterCallback", lambda child: aio.shield(child), lambda _, child, __: callbacks_of(child), HAS_CALL_GRAPH
)
KINDS["CompletionCallback"] = callback_kind(
    "CompletionCallback",
    lambda child: aio.as_completed([child]),
    lambda _, child, __: callbacks_of(child),
    HAS_NATIVE_AS_COMPLETED,
)
KINDS["TimeoutCallback"] = callback_kind(
    "TimeoutCallback",
    lambda child: aio.as_completed([child], timeout=10),
    lambda loop, _, __: (timer._callback for timer in loop._scheduled),
    HAS_NATIVE_AS_COMPLETED,
)


def iterator(world: World, token: Any = None) -> Any:
    """An iterator over a finished future that refers to *token*."""

    async def main() -> Any:
        child = world.loop.create_future()
        child.token = token
        found = aio.as_completed([child])
        child.set_result(None)
        await asyncio.sleep(0)
        return found

    return world.loop.run_until_complete(main())


KINDS["_AsCompletedIterator"] = Kind(make=iterator, ways={"ended child": iterator}, is_used=HAS_NATIVE_AS_COMPLETED)
