"""Servers that applications under measurement talk to: started when first asked for, ended with the run."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 30.0


class ServiceMissing(Exception):
    """The argument says what to install."""


class Services:
    """Use as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._postgresql: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def postgresql(self, core: int) -> str:
        """Where a PostgreSQL server listens, as asyncpg takes it. It runs on *core*.

        Raises:
            ServiceMissing: There is none on this machine.
        """
        if self._postgresql is None:
            self._postgresql = self._stack.enter_context(PostgreSQL(core)).address
        return self._postgresql


class PostgreSQL:
    """A cluster of its own on a Unix socket, durability switched off."""

    def __init__(self, core: int) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: (len(str(path)), path))
        if not found:
            raise ServiceMissing("PostgreSQL is not installed (Debian's package is called postgresql).")
        self.programs, self.core = found[-1].parent, core

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        data = self.folder / "data"
        make = [str(self.programs / "initdb"), "-D", str(data), "-U", "bench", "--auth=trust", "--no-sync"]
        subprocess.run(self.unprivileged(make), cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        command = [str(self.programs / "postgres"), "-D", str(data), "-k", str(self.folder), "-h", ""]
        command += ["-c", "fsync=off", "-c", "shared_buffers=16MB"]
        self.process = subprocess.Popen(
            ["taskset", "-c", str(self.core), *self.unprivileged(command)],
            cwd=self.folder,
            stderr=subprocess.DEVNULL,
        )
        self.address = f"postgresql://bench@/postgres?host={self.folder}"
        deadline = time.monotonic() + START_S
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise ServiceMissing("PostgreSQL did not start.")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def unprivileged(command: list[str]) -> list[str]:
        """PostgreSQL refuses to be root."""
        if os.geteuid() != 0:
            return command
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", *command]
