"""Locks, queues, timeouts and their relatives."""

from collections.abc import Callable
from typing import Any

from .kinds import HAS_NATIVE_CONDITIONS, HAS_NATIVE_SEMAPHORES, KINDS, Kind, aio, having


def primitive(make: Callable[[], Any], *attributes: str, is_used: bool = True) -> Kind:
    """A primitive of the namespace under test."""
    return Kind(
        make=lambda _world: make(),
        ways={"dictionary": having(lambda _world: make())},
        attributes=frozenset(attributes),
        is_used=is_used,
    )


KINDS["LockCore"] = primitive(lambda: aio.Lock(), "_loop", "_waiters")
KINDS["EventCore"] = primitive(lambda: aio.Event(), "_loop", "_waiters")
KINDS["SemaphoreCore"] = primitive(
    lambda: aio.Semaphore(), "_loop", "_waiters", "_value", is_used=HAS_NATIVE_SEMAPHORES
)
KINDS["ConditionCore"] = primitive(
    lambda: aio.Condition(),
    *("_loop", "_waiters", "_lock", "locked", "acquire", "release"),
    is_used=HAS_NATIVE_CONDITIONS,
)
KINDS["BarrierCore"] = primitive(lambda: aio.Barrier(2), "_cond", "_parties", "_state", is_used=HAS_NATIVE_CONDITIONS)
KINDS["QueueCore"] = primitive(lambda: aio.Queue(), "_loop", "_getters", "_putters", "_finished", "_maxsize", "_queue")
KINDS["TimeoutCore"] = primitive(
    lambda: aio.Timeout(None), "_state", "_timeout_handler", "_task", "_cancelling", "_when"
)
KINDS["TaskGroupCore"] = primitive(
    lambda: aio.TaskGroup(), "_loop", "_parent_task", "_tasks", "_errors", "_base_error", "_on_completed_fut"
)
