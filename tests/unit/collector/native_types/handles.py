"""Handles."""

import contextvars
from collections.abc import Callable
from typing import Any

from ...loops import turn
from .kinds import HAS_THREAD_SAFE_HANDLES, KINDS, Kind, World, nothing


def handle_kind(schedule: Callable[..., Any], is_used: bool = True) -> Kind:
    """Handles that have run, so that their loop no longer holds them."""

    def way(world: World, *call: Any, **options: Any) -> Any:
        handle = schedule(world, *call, **options)
        turn(world.loop, 2)
        return handle

    def in_context(world: World, token: Any) -> Any:
        variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
        context = contextvars.Context()
        context.run(variable.set, token)
        return way(world, nothing, context=context)

    return Kind(
        make=lambda world: way(world, nothing),
        ways={
            "callback": lambda world, token: way(world, token),
            "argument": lambda world, token: way(world, nothing, token),
            "context": in_context,
        },
        is_used=is_used,
        attributes=frozenset({"_args", "_context"}),
    )


KINDS["Handle"] = handle_kind(lambda world, *call, **options: world.loop.call_soon(*call, **options))
KINDS["ThreadSafeHandle"] = handle_kind(
    lambda world, *call, **options: world.loop.call_soon_threadsafe(*call, **options), HAS_THREAD_SAFE_HANDLES
)
KINDS["TimerHandle"] = handle_kind(lambda world, *call, **options: world.loop.call_later(0, *call, **options))
