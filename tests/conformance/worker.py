"""One process of the run: imports one test module, tells which tests it holds, runs those it is told to.

Its arguments are a socket's descriptor and the supervisor's process id; over the socket it speaks JSON lines
with `supervisor.py`.

    <- {"package", "module", "loop", "limit_s"}     the job
    -> {"event": "unusable", "detail"}              the loop cannot be put in place; the process ends
    -> {"event": "usable", "detail"}                answer to a job without a module; the process ends
    -> {"event": "broken", "detail"}                the test module cannot be imported; the process ends
    -> {"event": "loaded", "tests": [id], "skipped"}    `skipped`: why the module skips itself as a whole
    <- {"run": [id]}
    -> {"event": "start", "test", "log"}            `log` is the size of the output file so far, in bytes
    -> {"event": "end", "test", "outcome", "detail", "seconds", "loops", "log"}
    -> {"event": "fixture", "scope", "owner", "outcome", "detail"}  a class or module fixture went wrong
    -> {"event": "stopped", "detail"}               unittest let an exception through; the process ends
    -> {"event": "done"}                            what follows is the interpreter's own shutdown

A test's id is `module.Class.method`, without the package. When a test outlives its limit, a watchdog in C,
which needs no GIL, writes every thread's traceback to the output file; the supervisor kills the process.
"""

import collections
import ctypes
import faulthandler
import fcntl
import importlib
import json
import os
import re
import signal
import socket
import sys
import time
import traceback
import unittest
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
OWN_MODULES = str(Path(HERE, "own"))
sys.path.insert(0, HERE)
import substitution  # noqa: E402 - found through the line above

sys.path[:] = [entry for entry in sys.path if entry != HERE]  # the tests import nothing from this folder

LOOP_VARIABLE = "CONFORMANCE_LOOP"
FIRST_PRIVATE_FD = 200  # above the small numbers that tests with mocked descriptors use
FIXTURE_ID = re.compile(r"(setUpClass|tearDownClass|setUpModule|tearDownModule) \((.+)\)$")


class Channel:
    """The socket to the supervisor."""

    def __init__(self, fd: int) -> None:
        private = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_PRIVATE_FD)
        os.close(fd)
        self._lines = socket.socket(fileno=private).makefile("rw", encoding="utf-8", newline="\n")
        self._pid = os.getpid()

    def end_forked_copy(self) -> None:
        """End this process if it is a child that a test forked and that got out of its test."""
        if os.getpid() != self._pid:
            os._exit(70)

    def send(self, event: str, **fields: object) -> None:
        self.end_forked_copy()
        self._lines.write(json.dumps({"event": event, **fields}) + "\n")
        self._lines.flush()

    def receive(self) -> dict:
        return json.loads(self._lines.readline())


class Result(unittest.TestResult):
    """Sends each test's outcome as soon as it is known."""

    def __init__(self, channel: Channel, limit_s: float, log_fd: int, placed) -> None:
        super().__init__()
        self._channel = channel
        self._limit_s = limit_s
        self._log_fd = log_fd
        self._placed = placed
        self.current: str | None = None

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.current = test.conformance_id
        self._outcome, self._details = "passed", []
        self._loops_before = self._placed.loops_made
        self._channel.send("start", test=self.current, log=self._log_size())
        faulthandler.dump_traceback_later(self._limit_s, file=self._log_fd)
        self._started = time.perf_counter()

    def stopTest(self, test: unittest.TestCase) -> None:
        seconds = time.perf_counter() - self._started
        self._channel.end_forked_copy()  # the next line would wait for a thread that the copy does not have
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        if sys.exc_info()[1] is not None:
            return  # KeyboardInterrupt is on its way out: "stopped" tells the end of this test
        self._channel.send(
            "end",
            test=self.current,
            outcome=self._outcome,
            detail="\n".join(self._details),
            seconds=round(seconds, 4),
            loops=self._placed.loops_made - self._loops_before,
            log=self._log_size(),
        )
        self.current = None

    def addError(self, test, err) -> None:
        self._fail(test, err)

    def addFailure(self, test, err) -> None:
        self._fail(test, err)

    def addSubTest(self, test, subtest, err) -> None:
        if err is not None:
            self._fail(test, err, f"{subtest}\n")

    def addUnexpectedSuccess(self, test) -> None:
        self._outcome, self._details = "failed", ["It was expected to fail, and passed."]

    def addSkip(self, test, reason: str) -> None:
        if self._is_fixture(test):
            self._send_fixture(test, "skipped", reason)
            return
        if not hasattr(test, "conformance_id"):
            return  # a skipped subtest leaves its test as it is
        if self.current is None:
            self.startTest(test)  # 3.12.1 skips a decorated test without starting it
        if self._outcome == "passed":
            self._outcome, self._details = "skipped", [reason]

    def _fail(self, test, err, prefix: str = "") -> None:
        detail = prefix + self._exc_info_to_string(err, test)
        if self._is_fixture(test):
            self._send_fixture(test, "failed", detail)
        else:
            self._outcome = "failed"
            self._details.append(detail)

    def _is_fixture(self, test) -> bool:
        return FIXTURE_ID.match(test.id()) is not None

    def _send_fixture(self, test, outcome: str, detail: str) -> None:
        scope, owner = FIXTURE_ID.match(test.id()).groups()
        self._channel.send("fixture", scope=scope, owner=owner, outcome=outcome, detail=detail)

    def _log_size(self) -> int:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        return os.fstat(self._log_fd).st_size


def flattened(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flattened(item)
        else:
            yield item


def identified(suite, package: str, module: str) -> list[unittest.TestCase]:
    """The suite's tests in order, each with a `conformance_id` that is unique within the module."""
    seen = collections.Counter()
    tests = list(flattened(suite))
    for test in tests:
        method = getattr(test, "_testMethodName", None)
        name = (
            f"{type(test).__qualname__}.{method}"
            if method
            else test.id().removeprefix(f"{package}.{module.removesuffix(substitution.INSTALLED)}.")
        )
        seen[name] += 1
        repeat = f"#{seen[name]}" if seen[name] > 1 else ""
        test.conformance_id = f"{module}.{name}{repeat}"
    return tests


def end_with(supervisor: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, however that comes about."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(70)  # it has ended already


def reset_signals() -> None:
    """Undo what is inherited: a background shell hands SIGINT on as ignored, nohup SIGHUP."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for name in ("SIGHUP", "SIGQUIT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def enable_resources() -> None:
    """Do as `python -m test -u network,cpu,walltime,subprocess`: enable what works on loopback."""
    from test import support

    support.use_resources = ["network", "cpu", "walltime", "subprocess"]


def load(channel: Channel, package: str, module: str) -> list[unittest.TestCase]:
    """Import the module and announce its tests; an empty list when there is nothing to run."""
    try:
        if package.startswith("test."):
            enable_resources()
            importlib.import_module(package).__path__.append(OWN_MODULES)
        loaded = importlib.import_module(f"{package}.{module.removesuffix(substitution.INSTALLED)}")
        tests = identified(unittest.TestLoader().loadTestsFromModule(loaded), package, module)
    except unittest.SkipTest as skip:
        channel.send("loaded", tests=[], skipped=str(skip))
        return []
    except BaseException:
        channel.send("broken", detail=traceback.format_exc())
        return []
    channel.send("loaded", tests=[test.conformance_id for test in tests], skipped=None)
    return tests


def run(channel: Channel, tests: list[unittest.TestCase], result: Result) -> None:
    wanted = set(channel.receive()["run"])
    suite = unittest.TestSuite(test for test in tests if test.conformance_id in wanted)
    tests.clear()  # the suite lets go of each test once it has run, and of what that test still holds
    try:
        suite.run(result)
    except BaseException:  # KeyboardInterrupt, SystemExit: the next test starts in a fresh process
        channel.send("stopped", detail=traceback.format_exc())
    else:
        channel.send("done")
    faulthandler.cancel_dump_traceback_later()


def main() -> None:
    channel_fd, supervisor = map(int, sys.argv[1:])
    end_with(supervisor)
    channel = Channel(channel_fd)
    job = channel.receive()
    reset_signals()
    log_fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, FIRST_PRIVATE_FD)
    faulthandler.enable(file=log_fd)
    sys.argv[1:] = []
    os.environ[LOOP_VARIABLE] = job["loop"]
    try:
        placed = substitution.put_in_place(job["loop"])
        if job["module"] is None:
            substitution.check_default_loop(placed)
        elif job["module"].endswith(substitution.INSTALLED):
            substitution.install()
    except substitution.Unusable as error:
        channel.send("unusable", detail=str(error))
        return
    if job["module"] is None:
        channel.send("usable", detail=placed.origin)
        return
    tests = load(channel, job["package"], job["module"])
    if tests:
        run(channel, tests, Result(channel, job["limit_s"], log_fd, placed))


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__" and LOOP_VARIABLE in os.environ:
    # A process that a test starts through multiprocessing imports this file again: it gets the same loop.
    substitution.put_in_place(os.environ[LOOP_VARIABLE])
