"""Runs CPython's own asyncio test suite with Ferrio's loop in the place of the selector loop; see README.md.

    python tests/conformance                             the whole suite of this interpreter
    python tests/conformance test_events -k sendfile     part of it
    python tests/conformance --loop stdlib               the control: nothing replaced

The exit status is 0 when nothing failed, hung or crashed, 1 when something did, 2 when nothing could be run.
"""

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import functools
import importlib.util
import signal
import sys
import threading
import time
from pathlib import Path

from exclusions import ON_STDLIB, Exclusions, Invalid
from outcome import BAD, EXCLUDED, FAILED, FLAKY, ModuleOutcome, Outcome
from substitution import FERRIO, INSTALLED, INSTALLED_MODULES, STDLIB
from supervisor import Interrupted, Settings, Supervisor, Unusable

from report import Report, progress_line

HERE = Path(__file__).resolve().parent
OURS_STAND_BESIDE = "test.test_asyncio"
RESULTS = HERE.parents[1] / "build" / "conformance"


def main() -> int:
    options = parsed_options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the workers end first
    try:
        suite = Suite(options)
        return suite.show() if options.list else suite.run()
    except (Invalid, Unusable, NoTests) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class NoTests(Exception):
    """There is nothing to run; the message is a sentence."""


class Suite:
    """One run, as the command line asks for it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._available = modules_of(options.package)
        if options.loop == FERRIO:
            again = [name for name in INSTALLED_MODULES if name in self._available]
            self._available |= {f"{name}{INSTALLED}": self._available[name] for name in again}
        self._chosen = self._chosen_modules()
        kinds = {} if options.loop != STDLIB else {"kinds": [ON_STDLIB]}
        self._exclusions = Exclusions(options.exclusions, sys.version_info[:3], **kinds)
        self._supervisor = Supervisor(Settings(options.package, options.loop, options.timeout, options.module_timeout))
        self._printing = threading.Lock()

    def show(self) -> int:
        for module in sorted(self._chosen):
            for test in self._supervisor.tests_of(module):
                if self._is_selected(test):
                    exclusion = self._exclusions.find(test)
                    print(f"{test}  [{exclusion.kind}: {exclusion.reason}]" if exclusion else test)
        return 0

    def run(self) -> int:
        started = time.monotonic()
        origin = self._supervisor.check_loop()
        version = sys.version.split()[0]
        print(f"{self._options.package} of {version}, {len(self._chosen)} modules, on {origin}", flush=True)
        outcomes = self._run_modules()
        if not self._options.no_retry:
            self._retry_failures(outcomes)
        seconds = time.monotonic() - started
        report = Report(interpreter_tag(), origin, self._options.package, outcomes, self._stale(), seconds)
        report.write_json(self._json_path())
        print(f"Every test in detail: {self._json_path()}")
        report.print(self._options.tracebacks)
        return 0 if report.succeeded() else 1

    def _run_modules(self) -> list[ModuleOutcome]:
        """The longest files first, so that no worker is left alone with one at the end."""
        by_size = sorted(self._chosen, key=lambda name: self._available[name].stat().st_size, reverse=True)
        with concurrent.futures.ThreadPoolExecutor(self._options.jobs) as pool:
            running = [pool.submit(self._run_module, name) for name in by_size]
            try:
                return [future.result() for future in running]
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                self._supervisor.stop()
                if isinstance(error, Interrupted):
                    raise KeyboardInterrupt from None
                raise

    def _run_module(self, name: str) -> ModuleOutcome:
        outcome = self._supervisor.run(name, self._selection)
        for test, result in outcome.tests.items():
            if self._exclusions.find(test):
                when_run = result.when_run or (None if result.outcome == EXCLUDED else result.outcome)
                outcome.tests[test] = dataclasses.replace(result, outcome=EXCLUDED, when_run=when_run)
        with self._printing:
            print(progress_line(outcome), flush=True)
        return outcome

    def _selection(self, tests: list[str]) -> dict[str, Outcome | None]:
        selection = {}
        for test in tests:
            exclusion = self._exclusions.find(test)
            if not self._is_selected(test):
                continue
            left_out = exclusion is not None and not self._options.run_excluded
            selection[test] = Outcome(EXCLUDED, detail=exclusion.reason) if left_out else None
        return selection

    def _is_selected(self, test: str) -> bool:
        patterns = self._options.keyword
        return not patterns or any(fnmatch.fnmatchcase(test, f"*{pattern}*") for pattern in patterns)

    def _retry_failures(self, outcomes: list[ModuleOutcome]) -> None:
        """Run each failed test once more, in a process of its own and with nothing beside it.

        One that passes is flaky; one that hangs or crashes then is that. Tests that hung or crashed the first
        time are not tried again: doing so even once is the defect.
        """
        for module in outcomes:
            for test, first in list(module.tests.items()):
                if first.outcome != FAILED or "<" in test:
                    continue
                second = self._supervisor.run(module.module, functools.partial(only, test)).tests.get(test)
                if second is None:
                    continue
                if second.outcome not in BAD:
                    second = dataclasses.replace(first, outcome=FLAKY)
                module.tests[test] = second
                print(f"{'once more':<26} {test}: {second.outcome}", flush=True)

    def _chosen_modules(self) -> list[str]:
        if not self._options.modules:
            return list(self._available)
        for name in self._options.modules:
            if name not in self._available:
                raise NoTests(f"{self._options.package} has no module {name}.")
        return self._options.modules

    def _stale(self) -> list[str]:
        everything = not self._options.modules
        gone = self._exclusions.modules() - self._available.keys() if everything else set()
        # The control has none of the modules that run after install().
        gone = {name for name in gone if not name.endswith(INSTALLED)}
        return self._exclusions.stale({*self._chosen, *gone})

    def _json_path(self) -> Path:
        if self._options.json:
            return self._options.json
        control = "-stdlib" if self._options.loop == STDLIB else ""
        return RESULTS / f"{interpreter_tag()}{control}.json"


def only(wanted: str, tests: list[str]) -> dict[str, Outcome | None]:
    return {test: None for test in tests if test == wanted}


def modules_of(package: str) -> dict[str, Path]:
    """The test modules of *package* and their files, without importing them; with asyncio's, ours in `own/`."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise NoTests(
            f"This interpreter has no package {package}; "
            "some distributions ship it apart, Debian as libpythonX.Y-testsuite."
        )
    folders = [*spec.submodule_search_locations, *([HERE / "own"] if package == OURS_STAND_BESIDE else [])]
    found = [path for folder in folders for path in Path(folder).glob("test_*.py")]
    return {path.stem: path for path in sorted(found)}


def interpreter_tag() -> str:
    threads = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t"
    return f"cpython-{sys.version_info.major}.{sys.version_info.minor}{threads}"


def parsed_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/conformance", description=__doc__.partition(";")[0] + ".")
    parser.add_argument("modules", nargs="*", metavar="module", help="test modules, such as test_events; default all")
    parser.add_argument("-k", dest="keyword", action="append", metavar="PATTERN", help="only tests whose id has this")
    parser.add_argument("--list", action="store_true", help="print the tests, do not run them")
    parser.add_argument("--loop", default=FERRIO, help="module:Class, or stdlib; default %(default)s")
    parser.add_argument("-j", dest="jobs", type=int, default=2, help="modules at a time; default %(default)s")
    parser.add_argument("--timeout", type=float, default=40.0, help="seconds for a test; default %(default)g")
    parser.add_argument(
        "--module-timeout", type=float, default=1800.0, help="seconds for a module; default %(default)g"
    )
    parser.add_argument("--run-excluded", action="store_true", help="run them too, and tell which pass")
    parser.add_argument("--no-retry", action="store_true", help="do not run failed tests once more")
    parser.add_argument("--tracebacks", action="store_true", help="print them; the JSON file has them anyway")
    parser.add_argument("--json", type=Path, help="result file; default build/conformance/<interpreter>.json")
    parser.add_argument("--package", default="test.test_asyncio", help="another package of tests")
    parser.add_argument("--exclusions", type=Path, default=HERE / "white_box.toml", help="another list of exclusions")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
