"""``Loop``: the native core joined with asyncio's own Unix event loop.

The method resolution order has three parts:

1. what Ferrio does in Python, once per loop or per connection: a class for each family of methods, in the modules here;
2. the native core ``_ferrio.LoopCore``: scheduling, turning, watching descriptors, and the state behind them;
3. asyncio's class of the running interpreter, whose code runs over both: ``create_server``, happy eyeballs, executors,
   exception handlers, asynchronous generators.

The native half calls the functions of ``reporting`` through this module.
"""

from __future__ import annotations

import asyncio.unix_events
import functools
import inspect
import os
import selectors
import socket
import types
import weakref
from collections.abc import Callable, Mapping  # noqa: F401  # for the annotations, see below

from .. import _ferrio
from .._asyncio_internals import base_events
from .._fork import follow_forks
from .._selector import ReactorSelector
from .._subprocess import Children
from .connecting import ConnectingMethods
from .raw_sockets import RawSocketMethods
from .reporting import (
    log_failed_report,
    report_callback_error,
    report_failed_accept,
    report_failed_transport,
    report_failed_waiter,
    run_debug,
    runs_as_asyncio,
)
from .running import RUN_ONCE, RunningMethods, turn
from .serving import ServingMethods
from .signals import SignalMethods
from .subprocesses import SubprocessMethods
from .transports import WATCHING_METHODS, TransportMethods

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Tools look the annotations of Loop's methods up here: see _adopt_methods().
    from typing import Any

    from .._statistics import CoroutineCost, Histograms, Statistics
else:
    # Stand-ins, so that they can also evaluate them: what these names mean is imported when it is first used.
    Any = CoroutineCost = Histograms = Statistics = object

__all__ = [
    "Loop",
    "log_failed_report",
    "report_callback_error",
    "report_failed_accept",
    "report_failed_transport",
    "report_failed_waiter",
    "run_debug",
    "runs_as_asyncio",
]

# Whether `create_task` passes unknown keyword arguments on to the task.
_TAKES_EAGER_START = "kwargs" in inspect.signature(base_events.BaseEventLoop.create_task).parameters
# A program that replaces one of these on its loop gets asyncio's code for connecting and accepting, which calls them.
_REPLACEABLE = WATCHING_METHODS | {
    "sock_connect",
    "getaddrinfo",
    "create_task",
    "_make_socket_transport",
    "_accept_connection2",
}


class Loop(
    RunningMethods,
    SignalMethods,
    SubprocessMethods,
    TransportMethods,
    ServingMethods,
    ConnectingMethods,
    RawSocketMethods,
    _ferrio.LoopCore,
    asyncio.unix_events._UnixSelectorEventLoop,
):
    """An asyncio event loop whose core is native.

    Args:
        selector: A selector of the program's. The loop then is asyncio's own over it, and nothing of it is native.
            None: Ferrio polls the kernel itself.
        native_tasks: Whether ``create_task`` and ``create_future`` make ``ferrio.Task`` and ``ferrio.Future``, or
            asyncio's own. None: the former, unless the environment variable ``FERRIO_NATIVE_TASKS`` is ``0``.

    A loop belongs to the thread that runs it; from others only ``call_soon_threadsafe`` may be called.
    Follows ``asyncio.SelectorEventLoop``.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector | None = None,
        *,
        native_tasks: bool | None = None,
    ) -> None:
        if selector is not None:
            from .._given_selector import use_selector

            use_selector(self, selector, Loop)
            return
        is_new = "_pid" not in self.__dict__
        try:
            self._set_up(native_tasks)
        except BaseException:
            if is_new:
                # Closed by hand, so that no descriptor is left and the destructor has nothing to do.
                self._closed = True
                self._release()
                for end in (self._ssock, self._csock):
                    if end is not None:
                        end.close()
            raise

    def _set_up(self, native_tasks: bool | None) -> None:
        if native_tasks is None:
            native_tasks = os.environ.get("FERRIO_NATIVE_TASKS") != "0"
        self._native_tasks = native_tasks and _ferrio.HAS_NATIVE_TASKS
        self._starts_eagerly = _TAKES_EAGER_START
        self._has_other_call_soon = type(self).call_soon is not _ferrio.LoopCore.call_soon
        self._has_other_waits = any(
            getattr(type(self), name) is not getattr(_ferrio.LoopCore, name)
            for name in ("create_future", "call_later", "call_at")
        )
        # Before the first task is scheduled.
        self._look_at_handles()
        self._pid = os.getpid()
        self._children = Children(self)
        # Sockets that the program has passed to the loop and that have no transport yet.
        self._passed_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(ReactorSelector(self))  # type: ignore[arg-type]
        if type(self)._run_once in (RUN_ONCE, vars(Loop).get("_run_once")):
            # An instance attribute, found before what a program puts into the class: nest_asyncio puts asyncio's turn.
            self._run_once = functools.partial(turn, weakref.ref(self))  # type: ignore[method-assign]
        follow_forks(self)
        if os.environ.get("FERRIO_WATCH"):
            from .._watching import watch_as_told

            watch_as_told(self)
        if measures := os.environ.get("FERRIO_MEASURE"):
            self._measure_as_told(measures)
        if os.environ.get("FERRIO_INSPECT"):
            from ..inspect import serve_as_told

            serve_as_told()

    def _is_customised(self) -> bool:
        """Whether the program has replaced something between the loop and its sockets."""
        return (
            type(self) is not Loop or socket.socket is not _ferrio.SOCKET or not _REPLACEABLE.isdisjoint(self.__dict__)
        )


def _adopt_methods() -> None:
    """Make the families' methods Loop's own, as if they were written in its body: references and logs show them so."""
    for family in Loop.__mro__[1 : Loop.__mro__.index(_ferrio.LoopCore)]:
        for name, method in vars(family).items():
            if isinstance(method, types.FunctionType):
                setattr(Loop, name, method)
                # Some already have the name of asyncio's method, for the warning about a coroutine never awaited.
                if method.__qualname__ == f"{family.__name__}.{name}":
                    method.__module__ = Loop.__module__
                    method.__qualname__ = f"{Loop.__name__}.{name}"


_adopt_methods()
