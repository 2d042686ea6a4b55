"""Takes a test module through as many worker processes as it needs.

A worker that hangs is killed, one that crashes is gone; either way the test it was in is recorded and a fresh
worker resumes with the next. The same limit holds between tests: for the import, and for class and module
fixtures.

# Invariants
1. Each worker that resumes a module settles at least one test, so a module always comes to its end.
2. A worker leads its own process group, and the group is killed before the worker is reaped: nothing that a
   test started in that group outlives it, and the group's number cannot have passed to somebody else.
3. A test has exactly one outcome; every test that the module announced has one at the end.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from outcome import BAD, CRASHED, FAILED, HUNG, SKIPPED, ModuleOutcome, Outcome

WORKER = Path(__file__).resolve().parent / "worker.py"
KILL_AFTER_S = 1.0  # past the limit, so that the worker's watchdog has written its tracebacks
SHUTDOWN_LIMIT_S = 30.0
OUTPUT_LIMIT_CHARS = 20_000


class Unusable(Exception):
    """No test can be run with this loop; the message is a sentence."""


class Interrupted(Exception):
    """`Supervisor.stop` was called."""


@dataclass(frozen=True)
class Settings:
    """What all workers of a run have in common; the limits are seconds."""

    package: str
    loop: str
    limit_s: float
    module_limit_s: float


class Worker:
    """A worker process and its socket."""

    def __init__(self, folder: str, job: dict) -> None:
        self._log_path = os.path.join(folder, "output")
        ours, theirs = socket.socketpair()
        with ours, theirs, open(self._log_path, "ab") as log:
            environment = {
                name: value
                for name, value in os.environ.items()
                if name not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONWARNINGS")
            }
            self._process = subprocess.Popen(
                [sys.executable, "-W", "default", str(WORKER), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment | {"TMPDIR": folder},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            self._pidfd = os.pidfd_open(self._process.pid)
            self._socket = ours.dup()
        self._received = b""
        self.send(job)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait()
        os.close(self._pidfd)
        self._socket.close()

    def send(self, message: dict) -> None:
        # When it has ended, the next `receive` tells so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict | None:
        """The next event; None when the process has ended without another. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            ready = self._wait([self._socket, self._pidfd], deadline)
            if self._socket not in ready:
                return None
            try:
                chunk = self._socket.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                self._wait([self._pidfd], deadline)
                return None
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def exit_status(self, timeout_s: float) -> int:
        """Wait for the end of the process. Raises TimeoutError."""
        self._wait([self._pidfd], time.monotonic() + timeout_s)
        self.kill()
        return self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:  # invariant 2
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def log(self, start: int, end: int | None = None) -> str:
        with open(self._log_path, "rb") as log:
            log.seek(start)
            text = log.read(None if end is None else end - start).decode(errors="replace")
        if len(text) > OUTPUT_LIMIT_CHARS:
            half = OUTPUT_LIMIT_CHARS // 2
            text = f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
        return text

    @staticmethod
    def _wait(objects: list, deadline: float) -> list:
        ready, _, _ = select.select(objects, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        return ready


class Supervisor:
    """Runs modules; safe to use from several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped = False
        self._lock = threading.Lock()
        self._running: set[Worker] = set()

    def check_loop(self) -> str:
        """Where the loop comes from. Raises Unusable."""
        for worker in self._workers(None):
            try:
                event = worker.receive(self._settings.limit_s) or {}
            except TimeoutError:
                raise Unusable(f"Importing {self._settings.loop} and making one took too long.") from None
            if event.get("event") == "usable":
                return event["detail"]
            if event.get("event") == "unusable":
                raise Unusable(event["detail"])
            raise Unusable(f"Importing {self._settings.loop} ended the process:\n{worker.log(0)}")
        raise AssertionError("unreachable: the first worker returns or raises")

    def tests_of(self, module: str) -> list[str]:
        """The module's tests, without running them. Raises Unusable."""
        for worker in self._workers(module):
            try:
                event = worker.receive(self._settings.limit_s) or {"detail": worker.log(0)}
            except TimeoutError:
                event = {"detail": "its import took too long"}
            if "tests" in event:
                return event["tests"]
            raise Unusable(f"{module} cannot be listed: {event['detail']}")
        raise AssertionError("unreachable: the first worker returns or raises")

    def run(self, module: str, choose: Callable[[list[str]], dict[str, Outcome | None]]) -> ModuleOutcome:
        """Run a module to its end.

        Args:
            module: Its name within the package.
            choose: Gets the module's tests and returns those that this run is about: with None for one to
                run, or with the outcome that is settled beforehand.
        """
        return _ModuleRun(self._settings, module, choose).finish(self._workers(module))

    def stop(self) -> None:
        """End every worker; the `run` calls raise Interrupted."""
        with self._lock:
            self._stopped = True
            for worker in self._running:
                worker.kill()

    def _workers(self, module: str | None) -> Iterator[Worker]:
        """Fresh workers for *module*, each ended and cleaned up when the next is asked for."""
        job = {
            "package": self._settings.package,
            "loop": self._settings.loop,
            "limit_s": self._settings.limit_s,
            "module": module,
        }
        while True:
            with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
                with self._lock:
                    if self._stopped:
                        raise Interrupted
                    worker = Worker(folder, job)
                    self._running.add(worker)
                try:
                    with worker:
                        yield worker
                finally:
                    with self._lock:
                        self._running.discard(worker)


class _ModuleRun:
    """The state of one module between its workers."""

    def __init__(self, settings: Settings, module: str, choose: Callable) -> None:
        self._settings = settings
        self._choose = choose
        self._outcome = ModuleOutcome(module)
        self._remaining: list[str] | None = None  # None until a worker has told the module's tests

    def finish(self, workers: Iterator[Worker]) -> ModuleOutcome:
        started = time.monotonic()
        deadline = started + self._settings.module_limit_s
        with contextlib.closing(workers):
            for worker in workers:
                self._follow(worker, deadline)
                if not self._remaining:
                    break
                if time.monotonic() > deadline:
                    reason = f"Not run: the module's limit of {self._settings.module_limit_s:g} s had passed."
                    self._settle_all(list(self._remaining), HUNG, reason)
                    break
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _follow(self, worker: Worker, deadline: float) -> None:
        """Settle tests until the worker ends."""
        self._current: str | None = None
        self._log_start = 0
        while True:
            limit_s = min(self._settings.limit_s, max(0.0, deadline - time.monotonic()))
            try:
                event = worker.receive(limit_s + KILL_AFTER_S)
            except TimeoutError:
                self._blame(worker, HUNG, f"No end after {limit_s:.3g} s.")
                return
            if event is None:
                self._blame(worker, CRASHED, _ending(worker.exit_status(SHUTDOWN_LIMIT_S)))
                return
            match event["event"]:
                case "unusable":
                    raise Unusable(event["detail"])
                case "broken":
                    self._blame_import(worker, FAILED, event["detail"])
                    return
                case "loaded" if event["skipped"] is not None:
                    self._outcome.tests[f"{self._outcome.module}.<module>"] = Outcome(SKIPPED, detail=event["skipped"])
                    return
                case "loaded":
                    if self._remaining is None:
                        tests = self._outcome.tests = self._choose(event["tests"])
                        self._remaining = [name for name, known in tests.items() if known is None]
                    if not self._remaining:
                        return
                    worker.send({"run": self._remaining})
                case "start":
                    self._current, self._log_start = event["test"], event["log"]
                case "end":
                    self._settle_end(worker, event)
                case "fixture":
                    self._settle_fixture(event)
                case "stopped":
                    self._blame(worker, FAILED, event["detail"])
                    return
                case "done":
                    self._finish_shutdown(worker)
                    return

    def _settle_end(self, worker: Worker, event: dict) -> None:
        output = ""
        if event["outcome"] in BAD:
            output = worker.log(self._log_start, event["log"])
        self._settle(
            event["test"],
            Outcome(event["outcome"], event["seconds"], event["loops"], event["detail"], output),
        )
        self._current, self._log_start = None, event["log"]

    def _settle(self, test: str, outcome: Outcome) -> None:
        self._remaining.remove(test)
        self._outcome.tests[test] = outcome

    def _settle_all(self, tests: list[str], outcome: str, detail: str) -> None:
        for test in tests:
            self._settle(test, Outcome(outcome, detail=detail))

    def _settle_fixture(self, event: dict) -> None:
        """A failed set-up settles the tests it was for; a failed tear-down is an outcome of its own."""
        scope, detail = event["scope"], f"In {event['scope']} ({event['owner']}):\n{event['detail']}"
        class_name = event["owner"].removeprefix(f"{self._settings.package}.").partition(".")[2]
        prefix = ".".join(filter(None, (self._outcome.module, class_name))) + "."
        if scope.startswith("setUp"):
            covered = [name for name in self._remaining if name.startswith(prefix)]
            self._settle_all(covered, event["outcome"], detail)
        else:
            self._outcome.tests[f"{prefix}<{scope}>"] = Outcome(event["outcome"], detail=detail)

    def _blame(self, worker: Worker, outcome: str, what: str) -> None:
        """Record how the worker ended on the test it was in, else on the step it was in."""
        output = worker.log(self._log_start)
        if self._remaining is None:
            self._blame_import(worker, outcome, what)
            return
        if self._current is None and not self._remaining:
            name = f"{self._outcome.module}.<fixtures>"
            self._outcome.tests[name] = Outcome(outcome, detail=what, output=output)
            return
        test = self._current
        if test is None:  # invariant 1
            test, what = self._remaining[0], f"Before this test began, in the fixtures or the import. {what}"
        self._settle(test, Outcome(outcome, detail=what, output=output))

    def _blame_import(self, worker: Worker, outcome: str, what: str) -> None:
        if self._remaining is None:
            name = f"{self._outcome.module}.<import>"
            self._outcome.tests[name] = Outcome(outcome, detail=what, output=worker.log(0))
        else:
            detail = f"The module could not be imported again:\n{what}"
            self._settle_all(list(self._remaining), outcome, detail)

    def _finish_shutdown(self, worker: Worker) -> None:
        self._settle_all(list(self._remaining), FAILED, "unittest did not run this test.")
        try:
            status = worker.exit_status(SHUTDOWN_LIMIT_S)
        except TimeoutError:
            outcome, what = (
                HUNG,
                f"The interpreter did not end within {SHUTDOWN_LIMIT_S:g} s of its last test.",
            )
        else:
            outcome, what = CRASHED, _ending(status)
            if status == 0:
                return
        self._outcome.tests[f"{self._outcome.module}.<exit>"] = Outcome(
            outcome, detail=what, output=worker.log(self._log_start)
        )


def _ending(status: int) -> str:
    if status < 0:
        return f"The process was ended by {signal.Signals(-status).name}."
    return f"The process ended itself with status {status}."
