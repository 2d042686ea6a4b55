"""Forking while a loop exists: the child may close what it inherited, and the parent notices nothing."""

import os
import signal
import socket
from typing import Any

import pytest

from .loops import ferrio_only


@ferrio_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("with_signal_handler", [False, True])
def test_a_child_that_closes_the_inherited_loop_leaves_the_parents_registrations(
    loop: Any, with_signal_handler: bool
) -> None:
    near, far = socket.socketpair()
    heard: list[object] = []

    def hear(what: object) -> None:
        heard.append(what)
        loop.stop()

    with near, far:
        loop.add_reader(near, hear, "bytes")
        if with_signal_handler:
            loop.add_signal_handler(signal.SIGUSR1, hear, "signal")
        child = os.fork()
        if child == 0:
            try:
                loop.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        far.send(b"x")
        loop.call_later(10, loop.stop)
        loop.run_forever()
        assert heard == ["bytes"]
        loop.remove_reader(near)
        if with_signal_handler:
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.run_forever()
            assert heard == ["bytes", "signal"]
            loop.remove_signal_handler(signal.SIGUSR1)
