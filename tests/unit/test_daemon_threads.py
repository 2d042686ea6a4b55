"""A daemon thread in which a loop runs while the interpreter ends: the process ends as it does on asyncio.

The interpreter ends such a thread where it next asks for the GIL: in the middle of whatever Python code the loop has
called. Each program below has its thread there for good, and then ends.
"""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, selectors, signal, socket, sys, threading, time
import ferrio, ferrio.asyncio

entered = threading.Event()

def busy(*args):
    entered.set()
    while True:
        pass

class Busy:
    __del__ = busy

class Selector(selectors.SelectSelector):
    select = busy

class Transport(asyncio.Protocol):
    def __init__(self, **methods):
        vars(self).update(methods)

async def pair(protocol, loop):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    return transport, peer

async def received(loop):
    transport, peer = await pair(Transport(data_received=busy), loop)
    peer.send(b"x")
    await asyncio.sleep(100)

async def ended(loop):
    transport, peer = await pair(Transport(eof_received=busy), loop)
    peer.close()
    await asyncio.sleep(100)

async def lost(loop):
    transport, peer = await pair(Transport(connection_lost=busy), loop)
    transport.abort()
    await asyncio.sleep(100)

async def buffer_asked(loop):
    class Buffered(asyncio.BufferedProtocol):
        get_buffer = busy
    transport, peer = await pair(Buffered(), loop)
    peer.send(b"x")
    await asyncio.sleep(100)

async def datagram(loop):
    class Datagrams(asyncio.DatagramProtocol):
        datagram_received = busy
    transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    transport.sendto(b"x", transport.get_extra_info("sockname"))
    await asyncio.sleep(100)

async def accepted(loop):
    server = await loop.create_server(busy, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await asyncio.sleep(100)

async def reader(loop):
    ours, peer = socket.socketpair()
    loop.add_reader(ours, busy)
    peer.send(b"x")
    await asyncio.sleep(100)

async def stepped(loop):
    busy()

async def yielding(loop):
    while True:
        entered.set()
        await asyncio.sleep(0)

async def called(loop):
    loop.call_soon(busy)
    await asyncio.sleep(100)

async def called_later(loop):
    loop.call_later(0, busy)
    await asyncio.sleep(100)

async def called_from_a_thread(loop):
    loop.call_soon_threadsafe(busy)
    await asyncio.sleep(100)

async def called_in_debug_mode(loop):
    loop.set_debug(True)
    loop.call_soon(busy)
    await asyncio.sleep(100)

async def reported(loop):
    loop.set_exception_handler(busy)
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(100)

async def done(loop):
    future = loop.create_future()
    future.add_done_callback(busy)
    future.set_result(None)
    await asyncio.sleep(100)

async def dropped(loop):
    loop.call_soon(lambda _: None, Busy())
    await asyncio.sleep(100)

async def awaited(loop):
    class Awaited:
        __await__ = busy
    await asyncio.wait_for(Awaited(), 100)

async def in_a_group(loop):
    async with asyncio.TaskGroup() as group:
        group.create_task(stepped(loop))

async def selecting(loop):
    await asyncio.sleep(100)

async def idle(loop):
    entered.set()
    await asyncio.sleep(100)

name, loop_name = sys.argv[1:]
ways = {"ferrio": ferrio.new_event_loop, "asyncio": asyncio.new_event_loop}
if name == "selecting":
    ways = {"ferrio": lambda: ferrio.Loop(Selector()), "asyncio": lambda: asyncio.SelectorEventLoop(Selector())}

def run():
    loop = ways[loop_name]()
    if loop_name == "ferrio":
        for function in ("sleep", "wait_for", "TaskGroup"):
            setattr(asyncio, function, getattr(ferrio.asyncio, function))
    loop.run_until_complete(globals()[name](loop))

threading.Thread(target=run, daemon=True).start()
assert entered.wait(60), "the thread has not come there"
"""

WAYS = [
    "received", "ended", "lost", "buffer_asked", "datagram", "accepted", "reader", "stepped", "yielding", "called",
    "called_later", "called_from_a_thread", "called_in_debug_mode", "reported", "done", "dropped", "awaited",
    "in_a_group", "selecting", "idle",
]  # fmt: skip


def end_of(way: str, loop: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM, way, loop]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", WAYS)
def test_the_interpreter_ends_while_a_daemon_thread_is_in_python_code(way: str) -> None:
    ended = end_of(way, "ferrio")
    assert (ended.returncode, ended.stderr) == (0, "")
