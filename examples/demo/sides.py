"""The two sides that the demo compares, and the processes it starts for them."""

import json
import os
import re
import resource
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1]
START_LIMIT_S = 20.0

_cpus = sorted(os.sched_getaffinity(0))
#: A CPU each where there are two, so that where the scheduler puts them does not decide a round.
SERVER_CPU, CLIENT_CPU = (_cpus[0], _cpus[1]) if len(_cpus) > 1 else (None, None)


@dataclass(frozen=True)
class Side:
    """A loop to run the same programs on."""

    name: str
    #: What the class of its running loop must be in.
    package: str
    #: For ``uvicorn --loop``.
    factory: str
    #: What stands between the interpreter and the program.
    runner: tuple[str, ...] = ()

    def command(self, program: Path, *arguments: object) -> list[str]:
        return [sys.executable, *self.runner, str(program), *map(str, arguments)]

    def check(self, loop: str) -> None:
        """Raise unless *loop*, a class's full name, is this side's."""
        if loop.partition(".")[0].lstrip("_") != self.package:
            raise RuntimeError(f"{self.name}: {loop} was running")


ASYNCIO = Side("asyncio", "asyncio", "asyncio:new_event_loop")
FERRIO = Side("ferrio", "ferrio", "ferrio:new_event_loop", ("-m", "ferrio"))
#: For a look at the demo itself: asyncio against asyncio.
CONTROL = Side("asyncio again", "asyncio", "asyncio:new_event_loop")


class Children:
    """Processes in groups of their own, so that Ctrl-C reaches the demo alone; the demo then ends them."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, command: list[str], *, cpu: int | None = None, **options: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            text=True,
            process_group=0,
            preexec_fn=lambda: _prepare(cpu),
            **options,  # type: ignore[call-overload]
        )
        self._stack.callback(_end, process)
        return process

    def run(self, command: list[str], *, limit: float, **options: object) -> str:
        """What *command* prints; its errors go where the demo's go."""
        process = self.start(command, cpu=CLIENT_CPU, stdout=subprocess.PIPE, **options)
        try:
            output, _ = process.communicate(timeout=limit)
        finally:
            _end(process)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
        return str(output)


class Service:
    """``demo/service.py`` under uvicorn on one side's loop."""

    def __init__(self, children: Children, side: Side, pages: int) -> None:
        arguments = ["--app-dir", Path(__file__).parent, "--host", "127.0.0.1", "--port", 0]
        quiet = ["--no-access-log", "--timeout-keep-alive", 60]
        self.command = [
            *(sys.executable, "-m", "uvicorn", "service:app", "--loop", side.factory),
            *map(str, [*arguments, *quiet]),
        ]
        self.process = children.start(
            self.command,
            cpu=SERVER_CPU,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "DEMO_PAGES": str(pages)},
        )
        self._lines: list[str] = []
        self._address: str | None = None
        self._started = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._started.wait(START_LIMIT_S) or self._address is None:
            raise RuntimeError("the service did not start:\n" + "".join(self._lines))
        self.base = self._address
        #: Its sockets without any connection.
        self.own_sockets = self.sockets()
        with urllib.request.urlopen(f"{self.base}/loop", timeout=START_LIMIT_S) as response:
            self.loop = str(json.load(response)["loop"])
        side.check(self.loop)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                self._address = found[1]
                self._started.set()
        self._started.set()

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def sockets(self) -> int:
        folder = Path(f"/proc/{self.process.pid}/fd")
        return sum(os.readlink(each).startswith("socket:") for each in folder.iterdir())


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _prepare(cpu: int | None) -> None:
    """Before a program starts: as many descriptors as allowed, one CPU of its own if *cpu* names one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
