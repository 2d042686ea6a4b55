"""Cancelling an operation at a chosen point of its way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Literal

#: ``waiting``: while the operation waits. ``served``: when what it waits for has come, and it has not been told yet.
Moment = Literal["waiting", "served"]


class CancelledAt:
    """Awaits a coroutine and cancels the awaiting task at the coroutine's suspension number *at*, counted from 0."""

    def __init__(self, operation: Coroutine[Any, Any, Any], at: int, moment: Moment) -> None:
        self._operation = operation
        self._at = at
        self._moment = moment
        #: Whether the operation came so far.
        self.was_reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._operation.__await__()
        resume: Any = lambda: inner.send(None)  # noqa: E731
        count = 0
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value
            if count == self._at:
                self.was_reached = True
                if self._moment == "waiting" or waited_for is None:
                    task.cancel()
                else:
                    # Before the task's own callback, which comes when it gets the future.
                    waited_for.add_done_callback(lambda _: task.cancel())
                    asyncio.get_running_loop().call_later(0.05, task.cancel)
            count += 1
            try:
                yield waited_for
            except BaseException as exc:
                resume = lambda exc=exc: inner.throw(exc)  # noqa: E731
            else:
                resume = lambda: inner.send(None)  # noqa: E731
