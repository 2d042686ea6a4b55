"""Counting the awaits of a coroutine, to do something at exactly the n-th of them."""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def counting_suspensions(
    coroutine: Coroutine[Any, Any, None], at: int, on_reached: Callable[[], object]
) -> Generator[Any, Any, None]:
    """Await *coroutine*; call *on_reached* when it suspends for the *at*-th time (0: never)."""
    suspensions = 0
    error: BaseException | None = None
    while True:
        try:
            awaited = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            return
        suspensions += 1
        if suspensions == at:
            on_reached()
        try:
            yield awaited
            error = None
        except BaseException as thrown:
            error = thrown
