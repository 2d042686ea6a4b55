"""A server in a process of its own, whose log lines a test can wait for.

Ends only the process it started: asked first, killed after a limit.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent


class ServerProcess:
    """``python ARGUMENTS`` with stdout and stderr collected line by line.

    A thread reads the output; `wait_for` may be called from any thread.
    """

    def __init__(self, arguments: Sequence[str | Path]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-u", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=HERE,
            env={**os.environ, "PYTHONWARNINGS": "default::ResourceWarning"},
            preexec_fn=_default_interrupt,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def wait_for(self, pattern: str, *, limit: float = 20.0) -> re.Match[str]:
        """The first match of *pattern* in a line of output, waiting at most *limit* seconds for it."""
        compiled = re.compile(pattern)

        def search() -> re.Match[str] | None:
            return next((found for line in self.lines if (found := compiled.search(line))), None)

        with self._changed:
            self._changed.wait_for(lambda: search() is not None or self._ended, limit)
            found = search()
        assert found is not None, f"no line matches {pattern!r} in:\n{self.output}"
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_ended(self, *, limit: float = 20.0) -> int:
        """The exit status (negative: a signal's number), once the last line of output is read too."""
        status = self.process.wait(limit)
        self._reader.join(limit)
        return status

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _default_interrupt() -> None:
    """A shell hands SIGINT on as ignored to what it runs in the background; do not inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
