"""Native functions that lead to themselves through what they find in attributes end with asyncio's error.

No frame of Python's is in between: the attributes hold bound methods, ``functools.partial`` and the like.
"""

import textwrap

import pytest

from .test_depth import output_of

#: How many objects lead to one another.
COUNT = 20_000

#: How one more object is put before those that ``follows`` calls. ``stub`` makes an object with the given attributes.
CHAINS = {
    "Lock.release": (
        "lock = aio.Lock(); lock._locked = True; lock._waiters = queue_of(stub(done=follows)); follows = lock.release"
    ),
    "Event.set": "event = aio.Event(); event._waiters = queue_of(stub(done=follows)); follows = event.set",
    "Semaphore.release": (
        "semaphore = aio.Semaphore(0); semaphore._waiters = queue_of(stub(done=follows)); follows = semaphore.release"
    ),
    "Semaphore.locked": (
        "semaphore = aio.Semaphore(1); semaphore._waiters = queue_of(stub(cancelled=follows));"
        "follows = semaphore.locked"
    ),
    "Condition.notify": (
        "condition = aio.Condition(); await condition.acquire();"
        "condition._waiters = queue_of(stub(done=follows)); follows = condition.notify"
    ),
    "Condition.wait_for": (
        "condition = aio.Condition(); await condition.acquire();"
        "follows = functools.partial(condition.wait_for(follows).send, None)"
    ),
    "Queue.put_nowait": (
        "queue = aio.Queue(); queue._getters = queue_of(stub(done=follows));"
        "follows = functools.partial(queue.put_nowait, 1)"
    ),
    "Queue.get_nowait": (
        "queue = aio.Queue(); queue.put_nowait(1); queue._putters = queue_of(stub(done=follows));"
        "follows = queue.get_nowait"
    ),
    "Queue.task_done": (
        "queue = aio.Queue(); queue.put_nowait(1); queue._finished = stub(set=follows); follows = queue.task_done"
    ),
    "Timeout.reschedule": (
        "timeout = aio.timeout(1000); await timeout.__aenter__(); timeout._timeout_handler = stub(cancel=follows);"
        "follows = functools.partial(timeout.reschedule, None)"
    ),
    "Timeout._on_timeout": (
        "timeout = aio.timeout(1000); await timeout.__aenter__(); timeout._task = stub(cancel=follows);"
        "follows = timeout._on_timeout"
    ),
    "StreamReader.feed_data": (
        "reader = aio.StreamReader(loop=loop); reader._waiter = stub(cancelled=follows);"
        "follows = functools.partial(reader.feed_data, b'x')"
    ),
    "StreamReader._maybe_resume_transport": (
        "reader = aio.StreamReader(loop=loop); reader._transport = stub(resume_reading=follows); reader._paused = True;"
        "follows = reader._maybe_resume_transport"
    ),
    "StreamWriter.drain, by the reader": (
        "writer = aio.StreamWriter(stub(is_closing=no), stub(), None, loop); writer._reader = stub(exception=follows);"
        "follows = functools.partial(writer.drain().send, None)"
    ),
    "StreamWriter.drain, by the protocol": (
        "writer = aio.StreamWriter(stub(is_closing=no), stub(_drain_helper=follows), None, loop);"
        "follows = functools.partial(writer.drain().send, None)"
    ),
}

#: Objects that lead to themselves.
CIRCLES = {
    "StreamReaderProtocol.data_received": """
        reader = aio.StreamReader(loop=loop)
        protocol = aio.StreamReaderProtocol(reader, loop=loop)
        reader.feed_data = protocol.data_received
        protocol.data_received(b"x")
    """,
    "StreamReader.feed_data": """
        reader = aio.StreamReader(limit=1, loop=loop)
        reader._transport = stub(pause_reading=functools.partial(reader.feed_data, b"xxx"))
        reader.feed_data(b"xxx")
    """,
    "StreamWriter.write": "writer_of_itself().write(b'x')",
    "StreamWriter.writelines": "writer_of_itself().writelines([b'x'])",
    "StreamWriter.is_closing": "writer_of_itself().is_closing()",
    "StreamWriter.drain": "await writer_of_itself().drain()",
    "TaskGroup.create_task": """
        group, coroutine = aio.TaskGroup(), asyncio.sleep(0)
        await group.__aenter__()
        group._loop = stub(create_task=group.create_task)
        try:
            group.create_task(coroutine)
        finally:
            coroutine.close()
    """,
    "an iterator": """
        class Waiters:
            def __len__(self): return 1
            def __iter__(self): return self
            __next__ = semaphore.release

        semaphore._waiters = Waiters()
        semaphore.release()
    """,
    "a length": """
        class Waiters:
            __len__ = semaphore.release

        semaphore._waiters = Waiters()
        semaphore.release()
    """,
    "a truth value": """
        class Truth:
            __bool__ = semaphore.release

        semaphore._waiters = queue_of(stub(done=Truth))
        semaphore.release()
    """,
    "an equality": """
        class Value:
            __eq__ = queue.put_nowait

        class Waiters:
            __len__ = semaphore.locked

        semaphore._value, queue._getters = Value(), Waiters()
        semaphore.locked()
    """,
}

PROGRAM = """
import collections, functools, os, types

stub = types.SimpleNamespace
no = functools.partial(bool)

def queue_of(waiter):
    return collections.deque([waiter])

async def main():
    loop = asyncio.get_running_loop()
    semaphore, queue = aio.Semaphore(0), aio.Queue()

    def writer_of_itself():
        writer = aio.StreamWriter(None, None, None, loop)
        writer._transport = writer
        return writer

    try:
{body}
    except RecursionError:
        print("RecursionError", flush=True)
        os._exit(0)

new_loop().run_until_complete(main())
"""

CHAIN = f"""
follows = no
for _ in range({COUNT}):
    {{link}}
follows()
"""


def end_of(body: str) -> str:
    return output_of(PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), " " * 8)))


# A thousand levels take seconds, without optimisation or on a busy machine.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_native_functions_ends_with_an_error(name: str) -> None:
    assert end_of(CHAIN.format(link=CHAINS[name])) == "RecursionError"


@pytest.mark.parametrize("name", CIRCLES)
def test_a_native_function_that_leads_to_itself_ends_with_an_error(name: str) -> None:
    assert end_of(CIRCLES[name]) == "RecursionError"
