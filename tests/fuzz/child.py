"""A forked child that runs programs: what it may not do, how much it may use, and what it tells its parent.

What is about to be called is written into memory that the parent shares, so that it is known however the child ends.
"""

import faulthandler
import mmap
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import values

#: A child that makes no call for so long hangs: interrupts came and ended nothing. Time in which it was kept waiting
#: for a processor does not count.
SILENCE_LIMIT_S = 10.0
#: No more counts between two looks at a child: then this process was kept waiting as well, or did something else.
LOOK_LIMIT_S = 1.0
RECORD_BYTES = 16 << 20
MEMORY_BYTES = 1 << 30
DESCRIPTORS = 256
#: Audit events of what a program must not do, with what is allowed of it.
FORBIDDEN = frozenset(
    """
    os.system os.exec os.posix_spawn os.remove os.rename os.rmdir os.mkdir os.chmod os.chown os.truncate
    os.link os.symlink os.kill os.killpg os.putenv os.unsetenv shutil.rmtree shutil.move shutil.copyfile
    ctypes.dlopen subprocess.Popen os.fork os.forkpty pty.spawn socket.gethostbyname socket.gethostbyaddr
    socket.sethostname webbrowser.open signal.pthread_kill
    """.split()
)


class Forbidden(Exception):
    """A program reached for something beyond its process."""


def guard(event: str, arguments: tuple) -> None:
    """The audit hook of a child."""
    if event in FORBIDDEN:
        raise Forbidden(event)
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & (
            os.O_RDWR | os.O_WRONLY | os.O_CREAT
        )
        # Opening a descriptor opens no file.
        if writes and not isinstance(path, int):
            raise Forbidden(event)
    elif event in ("socket.connect", "socket.sendto", "socket.bind", "socket.sendmsg", "socket.getaddrinfo"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = address[0] if isinstance(address, tuple) and address else address
        if not (host is None or host in ("127.0.0.1", "::1", "localhost", b"127.0.0.1")):
            raise Forbidden(event)


class Record:
    """The calls of a child, in memory that it shares with its parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, RECORD_BYTES)
        self._at = 16

    def note(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        end = self._at + len(data)
        if end > RECORD_BYTES:
            return
        self._memory[self._at : end] = data
        self._at = end
        self._memory[:8] = end.to_bytes(8, "little")

    def add_calls(self, count: int) -> None:
        self._memory[8:16] = (self.calls + count).to_bytes(8, "little")

    @property
    def calls(self) -> int:
        return int.from_bytes(self._memory[8:16], "little")

    @property
    def length(self) -> int:
        return int.from_bytes(self._memory[:8], "little")

    def lines(self) -> list[str]:
        data = bytes(self._memory[16 : max(16, self.length)])
        return data.decode("utf-8", "surrogatepass").splitlines()

    def close(self) -> None:
        self._memory.close()


@dataclass
class Ending:
    """How a child ended: its status as `os.waitstatus_to_exitcode` has it, what it said, whether it hung."""

    code: int
    said: str
    hung: bool
    record: Record


class Child:
    """A child under way."""

    def __init__(self, body: Callable[[Record], None], *, guarded: bool = True) -> None:
        self.record = Record()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the child has ended)
        self._length = -1
        self._silent_s = 0.0
        self._looked = time.monotonic()
        self._kept_waiting_s = 0.0
        self._hung = False
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_child(body, guarded)
        self._pidfd = os.pidfd_open(self.pid)

    def _be_the_child(self, body: Callable[[Record], None], guarded: bool) -> None:
        code = 70
        try:
            with open(os.devnull, "r+b") as null:
                os.dup2(null.fileno(), 0)
                os.dup2(null.fileno(), 1)
            os.dup2(self._said.fileno(), 2)
            faulthandler.enable(2, all_threads=True)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if "ASAN_OPTIONS" not in os.environ:  # whose own map of memory is larger
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if guarded:
                values.prepare()
                # CPython 3.14 is not safe when an audit hook fails within sys.set_asyncgen_hooks.
                values.uninterrupted.add(guard.__code__)
                sys.addaudithook(guard)
            body(self.record)
            code = 0
        except KeyboardInterrupt:
            # An interrupt between two calls: the rest of this child's seeds is not run.
            code = 0
        except BaseException as error:
            import traceback

            traceback.print_exception(error, file=sys.__stderr__)
            sys.__stderr__.flush()
        finally:
            os._exit(code)

    def poll(self, patience_s: float) -> Ending | None:
        """How the child ended, if it did within *patience_s*."""
        if not select.select([self._pidfd], [], [], patience_s)[0]:
            if not self._is_silent():
                return None
            self._end()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        return Ending(os.waitstatus_to_exitcode(status), said, self._hung, self.record)

    def _is_silent(self) -> bool:
        """Whether the child, which could have run for so long, has made no call."""
        before, self._looked = self._looked, time.monotonic()
        length = self.record.length
        if length != self._length:
            self._length, self._silent_s = length, 0.0
            return False
        self._silent_s += min(self._looked - before, LOOK_LIMIT_S)
        if self._silent_s <= SILENCE_LIMIT_S:
            return False
        waited, self._kept_waiting_s = self._kept_waiting_s, self._waited_for_a_processor()
        self._silent_s -= min(self._silent_s, self._kept_waiting_s - waited)
        return self._silent_s > SILENCE_LIMIT_S

    def _waited_for_a_processor(self) -> float:
        """How long the child's first thread could have run and did not, in all; 0 where the system does not say."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def stop(self) -> None:
        """End the child at once; nothing is asked of it."""
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _end(self) -> None:
        """End a child that hangs; the first signal makes it say where each of its threads is."""
        self._hung = True
        for number in (signal.SIGABRT, signal.SIGKILL):
            signal.pidfd_send_signal(self._pidfd, number)
            if select.select([self._pidfd], [], [], 3)[0]:
                return
