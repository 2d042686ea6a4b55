# The namespace is asyncio's: Ferrio's objects have the types of those that they replace. The first definition of a name
# counts, so Ferrio's own types precede asyncio's.
# ruff: noqa: I001
from ferrio._event_loop import Loop
from ferrio._policy import EventLoopPolicy
from ferrio._running import Runner as Runner, new_event_loop as new_event_loop, run as run

SelectorEventLoop = Loop
EventLoop = Loop
DefaultEventLoopPolicy = EventLoopPolicy

from asyncio import *  # type: ignore[assignment]  # noqa: E402, F403
from asyncio import TaskGroup as TaskGroup  # noqa: E402
from asyncio import (  # noqa: E402
    base_events as base_events,
    constants as constants,
    coroutines as coroutines,
    events as events,
    exceptions as exceptions,
    futures as futures,
    locks as locks,
    protocols as protocols,
    queues as queues,
    runners as runners,
    sslproto as sslproto,
    streams as streams,
    subprocess as subprocess,
    taskgroups as taskgroups,
    tasks as tasks,
    threads as threads,
    timeouts as timeouts,
    transports as transports,
    unix_events as unix_events,
)
