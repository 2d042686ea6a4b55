"""``TaskGroup``: native state, and native methods as long as no task fails; then asyncio's code."""

from __future__ import annotations

import asyncio

from . import _ferrio
from ._copying import copied_by

__all__ = ["TaskGroup"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import TaskGroup
else:

    @copied_by(*vars(asyncio.TaskGroup()))
    class TaskGroup(_ferrio.TaskGroupCore, asyncio.TaskGroup):
        """Tasks that are awaited together. Follows ``asyncio.TaskGroup``."""

        create_task = _ferrio.Function("TaskGroup.create_task", asyncio.TaskGroup.create_task)
        __aenter__ = _ferrio.CoroutineFunction("TaskGroup.__aenter__", asyncio.TaskGroup.__aenter__)
        __aexit__ = _ferrio.CoroutineFunction("TaskGroup.__aexit__", asyncio.TaskGroup.__aexit__)
        _on_task_done = _ferrio.Function("TaskGroup._on_task_done", asyncio.TaskGroup._on_task_done)
