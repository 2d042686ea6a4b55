from asyncio import *
from asyncio import (
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
    streams as streams,
    subprocess as subprocess,
    taskgroups as taskgroups,
    tasks as tasks,
    threads as threads,
    timeouts as timeouts,
    transports as transports,
    unix_events as unix_events,
)

from ferrio._event_loop import Loop as SelectorEventLoop
from ferrio._policy import EventLoopPolicy as DefaultEventLoopPolicy
from ferrio._running import Runner as Runner, new_event_loop as new_event_loop, run as run

EventLoop = SelectorEventLoop
