"""Objects of the program whose finalizers call the loop from wherever native code drops them."""

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from .loops import run_until

#: A timer is due whose ``_scheduled`` holds what `value` makes.
PROGRAM = """
import asyncio, ferrio, socket, warnings
warnings.simplefilter("ignore")
loop = ferrio.Loop()
one, other = socket.socketpair()
one.setblocking(False)

async def value():
{value}

mark = loop.run_until_complete(value())
timer = loop.call_later(0.001, print, "due")
timer._scheduled = mark
del mark
loop.call_later(0.01, loop.stop)
loop.run_forever()
print(timer._scheduled)
loop.close()
"""

WAITING_OPERATION = """
    operation = loop.sock_recv(one, 1)
    operation.send(None)
    return operation
"""
PAUSED_TRANSPORT = """
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
    transport.pause_reading()
    return transport
"""
WAITING_COROUTINE = """
    from ferrio.asyncio import sleep
    coroutine = sleep(60)
    coroutine.send(None)
    return coroutine
"""


class Returning:
    """An object that schedules something on the loop when it is freed."""

    def __init__(self, loop: Any, order: list[str]) -> None:
        self.loop = loop
        self.order = order

    def __del__(self) -> None:
        self.order.append("freed")
        self.loop.call_soon(self.order.append, "scheduled while it was freed")


def test_what_was_put_into_a_timers_mark_is_freed_when_the_timer_is_due(loop: Any) -> None:
    order: list[str] = []
    timer = loop.call_later(0.001, order.append, "due")
    timer._scheduled = Returning(loop, order)
    run_until(loop, lambda: len(order) == 3)
    assert order == ["freed", "due", "scheduled while it was freed"]
    assert timer._scheduled is False


@pytest.mark.parametrize("value", [WAITING_OPERATION, PAUSED_TRANSPORT, WAITING_COROUTINE])
def test_native_objects_put_into_a_timers_mark_are_freed_when_the_timer_is_due(value: str) -> None:
    program = textwrap.dedent(PROGRAM).format(value=value)
    command = [sys.executable, "-X", "faulthandler", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "due\nFalse\n")
