"""Forked children that report through a pipe."""

import json
import os
import select
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from .loops import LIMIT_S


class Child:
    """A forked child: it ends with ``report``, and the parent reads the report with ``result``."""

    def __init__(self, pid: int, channel: int) -> None:
        self.pid = pid
        self._channel = channel

    def report(self, value: Any) -> NoReturn:
        """Send the result and exit. Called in the child."""
        try:
            os.write(self._channel, json.dumps(value).encode())
        finally:
            os._exit(0)

    def result(self) -> Any:
        """Wait for the child's exit and return its report. Called in the parent."""
        data = b""
        try:
            while True:
                ready, _, _ = select.select([self._channel], [], [], LIMIT_S)
                if not ready:
                    os.kill(self.pid, 9)
                    raise AssertionError("the child does not end")
                if not (block := os.read(self._channel, 65536)):
                    break
                data += block
        finally:
            os.close(self._channel)
            status = os.waitpid(self.pid, 0)[1]
        assert status == 0, os.waitstatus_to_exitcode(status)
        assert data, "the child has failed"
        return json.loads(data)


def fork() -> Child:
    """Fork; in the child ``pid`` is 0."""
    reading, writing = os.pipe()
    pid = os.fork()
    os.close(writing if pid else reading)
    return Child(pid, reading if pid else writing)


def in_child(function: Callable[[], Any]) -> Any:
    """Return the result of *function* in a forked child, which the parent waits for."""
    child = fork()
    if child.pid == 0:
        try:
            child.report(function())
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
    return child.result()
