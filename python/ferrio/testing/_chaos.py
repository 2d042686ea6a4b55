"""``chaos``: a loop that makes by a seed what asyncio leaves open.

The native half chooses the order in which descriptors that are ready at once are served, and how much each receive
and each send of a transport moves. Here are the receives of ``loop.sock_recv`` and ``loop.sock_recv_into``, and the
moment at which a call from another thread arrives: the thread is kept for a moment, so that what it does stays in its
order.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from .._event_loop import Loop
from .._running import new_event_loop

__all__ = ["chaos"]

#: The longest time in seconds for which a thread is kept.
LONGEST_DELAY_S = 0.002


def chaos(seed: int | None = None, *, native_tasks: bool | None = None) -> Loop:
    """Make a loop that does what a program must not rely on otherwise than usual, to find races in the program.

    By the seed it chooses

    - in which order transports and ``add_reader`` callbacks run that are ready at once,
    - how many bytes a receive brings and a send takes: one, a few, any number, or all, with ``data_received``, streams,
      TLS, ``sock_recv`` and ``sock_recv_into``,
    - for how long (at most 2 ms) a thread is kept in ``call_soon_threadsafe``, and with it what an executor returns.

    All of it can happen on every loop. What asyncio promises holds: the order of bytes, of ``call_soon``, of timers, of
    one thread's calls. Datagrams stay whole. It is not meant to be fast.

    Args:
        seed: The same seed makes the same choices as long as the same questions come in the same order: threads and
            other processes may come at other moments. None: that of the environment variable ``FERRIO_CHAOS``, or a
            random one; ``loop.chaos_seed`` is it.
        native_tasks: As for ``ferrio.new_event_loop``.

    Raises:
        ValueError: ``FERRIO_CHAOS`` is no number.
    """
    if seed is None:
        text = os.environ.get("FERRIO_CHAOS", "")
        seed = int(text) if text else random.SystemRandom().getrandbits(32)
    loop = new_event_loop(native_tasks=native_tasks)
    loop._be_chaotic(seed & 0xFFFF_FFFF_FFFF_FFFF)
    _Choices(seed).put_into(loop)
    return loop


class _Choices:
    """Those that are made in Python. It does not keep its loop alive."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        # Threads wait apart, so that the loop's own choices do not depend on when they come.
        self._of_threads = random.Random(~seed)
        self._lock = threading.Lock()

    def put_into(self, loop: Loop) -> None:
        own = weakref.ref(loop)
        kind = type(loop)

        def receive(sock: Any, *args: Any, **options: Any) -> Any:
            if _is_stream(sock) and len(args) == 1 and type(args[0]) is int:
                args = (self._part(args[0]),)
            return kind.sock_recv(_living(own), sock, *args, **options)

        def receive_into(sock: Any, *args: Any, **options: Any) -> Any:
            # What is no row of bytes is the original's to refuse.
            with contextlib.suppress(TypeError, ValueError):
                if _is_stream(sock):
                    [buffer] = args
                    room = memoryview(buffer).cast("B")
                    args = (room[: self._part(len(room))],)
            return kind.sock_recv_into(_living(own), sock, *args, **options)

        def call_soon_threadsafe(callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
            loop = _living(own)
            if loop._thread_id not in (None, threading.get_ident()):
                with self._lock:
                    delay_s = self._of_threads.choice((0.0, self._of_threads.uniform(0, LONGEST_DELAY_S)))
                time.sleep(delay_s)
            return kind.call_soon_threadsafe(loop, callback, *args, context=context)

        attributes: dict[str, Any] = {
            "sock_recv": receive,
            "sock_recv_into": receive_into,
            "call_soon_threadsafe": call_soon_threadsafe,
            "chaos_seed": self._seed,
        }
        for name, value in attributes.items():
            setattr(loop, name, value)

    def _part(self, length: int) -> int:
        if length <= 1:
            return length
        kind = self._random.randrange(4)
        if kind == 0:
            return length
        return 1 if kind == 1 else self._random.randint(1, min(length, 16) if kind == 2 else length)


def _is_stream(sock: Any) -> bool:
    """Whether it may bring less than is asked for: a datagram would lose the rest."""
    return getattr(sock, "type", None) == socket.SOCK_STREAM


def _living(own: weakref.ref[Loop]) -> Loop:
    loop = own()
    if loop is None:
        raise RuntimeError("Event loop is closed")
    return loop
