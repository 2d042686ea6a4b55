"""The conformance runner sees failures, hangs, crashes, flaky tests and stale exclusions, and survives them.

It is run as users run it, over a small package of tests that go wrong in every way, and judged by its JSON
and its output.
"""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from exclusions import Exclusions, Invalid, version_matches

RUNNER = Path(__file__).resolve().parent

MODULES = {
    "test_bad": """
        import ctypes, os, pathlib, signal, sys, time, unittest

        class Bad(unittest.TestCase):
            def test_a_fails(self):
                print("a word before the failure")
                self.assertEqual(1, 2)

            def test_b_hangs(self):
                time.sleep(600)

            def test_c_aborts(self):
                print("a word before the end", flush=True)
                os.abort()

            def test_d_segfaults(self):
                ctypes.string_at(0)

            def test_e_leaves(self):
                os._exit(0)

            def test_f_is_flaky(self):
                mark = pathlib.Path(os.environ["FLAKY_MARK"])
                tried = mark.exists()
                mark.touch()
                self.assertTrue(tried)

            def test_g_asks_to_exit(self):
                sys.exit("no more")

            def test_h_interrupts(self):
                self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(600)

            def test_i_forks_a_child_that_gets_away(self):
                if os.fork() == 0:
                    return
                os.wait()

            def test_j_is_fine(self):
                pass
    """,
    "test_fixtures": """
        import unittest

        class NoSetUp(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise OSError("no set-up")

            def test_one(self): pass
            def test_two(self): pass

        class NoTearDown(unittest.TestCase):
            @classmethod
            def tearDownClass(cls):
                raise OSError("no tear-down")

            def test_one(self): pass

        class Skipped(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise unittest.SkipTest("not today")

            def test_one(self): pass
    """,
    "test_good": """
        import asyncio, multiprocessing, unittest

        def class_of_new_loop(connection):
            loop = asyncio.new_event_loop()
            loop.close()
            connection.send(type(loop).__name__)

        class Good(unittest.TestCase):
            def test_subtests(self):
                for number in range(3):
                    with self.subTest(number):
                        if number == 1:
                            self.skipTest("one part of it")

            @unittest.skip("for a reason")
            def test_skipped(self): pass

            @unittest.expectedFailure
            def test_expected_failure(self): self.fail()

            def test_excluded(self): self.fail("look, but not inside")

            def test_excluded_and_passing(self): pass

            def test_other_process(self):
                ours, theirs = multiprocessing.Pipe()
                spawn = multiprocessing.get_context("spawn")
                process = spawn.Process(target=class_of_new_loop, args=(theirs,))
                process.start()
                name = ours.recv()
                process.join()
                self.assertEqual(name, asyncio.SelectorEventLoop.__name__)

        class Coroutines(unittest.IsolatedAsyncioTestCase):
            async def test_running_loop(self):
                self.assertIs(type(asyncio.get_running_loop()), asyncio.SelectorEventLoop)
    """,
    "test_waits": """
        import os, pathlib, time, unittest

        class Waits(unittest.TestCase):
            @unittest.skipUnless("PID_FILE" in os.environ, "only when asked for")
            def test_until_killed(self):
                pathlib.Path(os.environ["PID_FILE"]).write_text(str(os.getpid()))
                time.sleep(600)
    """,
    "test_module_skipped": "import unittest; raise unittest.SkipTest('elsewhere only')",
    "test_unimportable": "import no_such_module",
    "test_ends_badly": """
        import atexit, os, unittest
        atexit.register(os.abort)

        class Ends(unittest.TestCase):
            def test_one(self): pass
    """,
}

TOY_LOOP = """
    import asyncio

    class Loop(asyncio.SelectorEventLoop):
        pass

    class NotALoop:
        pass
"""

EXCLUSIONS = """
    [[exclude]]
    tests = ["test_good.Good.test_excluded*"]
    kind = "white-box"
    reason = "A reason."

    [[exclude]]
    tests = ["test_good.Good.test_gone"]
    kind = "white-box"
    reason = "A reason."

    [[exclude]]
    tests = ["test_good.Good.test_of_another_version"]
    versions = "<3"
    kind = "white-box"
    reason = "A reason."
"""


@dataclass
class Run:
    """One finished run of the runner."""

    status: int
    output: str
    errors: str
    result: dict | None

    def test(self, name: str) -> dict:
        return self.result["modules"][name.partition(".")[0]]["tests"][name]

    def outcome(self, name: str) -> str:
        return self.test(name)["outcome"]


class Conformance:
    """The runner over a package of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str) -> Run:
        """Run it to its end."""
        result = self._folder / "result.json"
        result.unlink(missing_ok=True)
        with self.started(*arguments, "--json", str(result)) as process:
            output, errors = process.communicate(timeout=100)
        content = json.loads(result.read_text()) if result.exists() else None
        return Run(process.returncode, output, errors, content)

    def started(self, *arguments: str, **variables: object) -> subprocess.Popen:
        mark = self._folder / "mark"
        mark.unlink(missing_ok=True)
        command = [sys.executable, str(RUNNER), "--package", "sample_tests", "--timeout", "1.5"]
        command += ["--exclusions", str(self._folder / "exclusions.toml"), *arguments]
        environment = os.environ | {"PYTHONPATH": str(self._folder), "FLAKY_MARK": str(mark)}
        environment |= {name.upper(): str(value) for name, value in variables.items()}
        environment["TMPDIR"] = str(self._folder)  # where a runner that is killed leaves its workers' folders
        # The shell hands SIGINT on as ignored, as it does to a command in the background.
        shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        return subprocess.Popen(shell, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition, limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def conformance(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    package = folder / "sample_tests"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in MODULES.items():
        (package / f"{name}.py").write_text(textwrap.dedent(source))
    (folder / "toy.py").write_text(textwrap.dedent(TOY_LOOP))
    (folder / "exclusions.toml").write_text(textwrap.dedent(EXCLUSIONS))

    return Conformance(folder)


@pytest.fixture(scope="module")
def whole_run(conformance):
    return conformance("--loop", "toy:Loop")


def test_a_bad_test_makes_the_exit_status_1(whole_run):
    assert whole_run.status == 1, whole_run.errors


def test_the_last_line_has_the_counts(whole_run):
    totals = whole_run.result["totals"]
    failed = totals["failed"] + totals["hung"] + totals["crashed"]
    expected = f"{totals['passed'] + totals['flaky']} passed, {failed} failed, {totals['skipped']} skipped"
    assert whole_run.output.splitlines()[-1] == expected


def test_a_failure_comes_with_its_traceback_and_output(whole_run):
    failure = whole_run.test("test_bad.Bad.test_a_fails")
    assert failure["outcome"] == "failed"
    assert "AssertionError: 1 != 2" in failure["detail"]
    assert "a word before the failure" in failure["output"]


def test_a_hang_is_cut_short_and_shows_where_it_was(whole_run):
    hang = whole_run.test("test_bad.Bad.test_b_hangs")
    assert hang["outcome"] == "hung"
    assert "in test_b_hangs" in hang["output"]


@pytest.mark.parametrize(("test", "signal"), [("test_c_aborts", "SIGABRT"), ("test_d_segfaults", "SIGSEGV")])
def test_a_crash_is_told_with_its_signal_and_traceback(whole_run, test, signal):
    crash = whole_run.test(f"test_bad.Bad.{test}")
    assert crash["outcome"] == "crashed"
    assert signal in crash["detail"]
    assert f"in {test}" in crash["output"]


def test_a_crash_comes_with_what_the_test_wrote(whole_run):
    assert "a word before the end" in whole_run.test("test_bad.Bad.test_c_aborts")["output"]


def test_leaving_with_status_0_is_a_crash(whole_run):
    assert whole_run.outcome("test_bad.Bad.test_e_leaves") == "crashed"


def test_a_test_that_passes_alone_is_flaky_and_keeps_its_first_traceback(whole_run):
    flaky = whole_run.test("test_bad.Bad.test_f_is_flaky")
    assert flaky["outcome"] == "flaky"
    assert "AssertionError" in flaky["detail"]
    assert "flaky    test_bad.Bad.test_f_is_flaky" in whole_run.output


def test_exceptions_that_unittest_lets_through_are_failures(whole_run):
    assert whole_run.outcome("test_bad.Bad.test_g_asks_to_exit") == "failed"
    assert "KeyboardInterrupt" in whole_run.test("test_bad.Bad.test_h_interrupts")["detail"]


def test_a_forked_copy_of_the_worker_reports_nothing(whole_run):
    assert whole_run.outcome("test_bad.Bad.test_i_forks_a_child_that_gets_away") == "passed"
    assert len(whole_run.result["modules"]["test_bad"]["tests"]) == 10


def test_the_run_goes_on_after_all_that(whole_run):
    assert whole_run.outcome("test_bad.Bad.test_j_is_fine") == "passed"


def test_a_failed_set_up_fails_the_tests_it_is_for(whole_run):
    for test in ("test_one", "test_two"):
        failure = whole_run.test(f"test_fixtures.NoSetUp.{test}")
        assert failure["outcome"] == "failed"
        assert "no set-up" in failure["detail"]


def test_a_failed_tear_down_is_a_failure_of_its_own(whole_run):
    assert whole_run.outcome("test_fixtures.NoTearDown.test_one") == "passed"
    assert whole_run.outcome("test_fixtures.NoTearDown.<tearDownClass>") == "failed"


def test_skips_are_counted_by_whatever_they_were_raised(whole_run):
    assert whole_run.outcome("test_fixtures.Skipped.test_one") == "skipped"
    assert whole_run.outcome("test_good.Good.test_skipped") == "skipped"
    assert whole_run.outcome("test_module_skipped.<module>") == "skipped"


def test_a_skipped_subtest_leaves_its_test_passed(whole_run):
    assert whole_run.outcome("test_good.Good.test_subtests") == "passed"


def test_an_expected_failure_is_a_pass(whole_run):
    assert whole_run.outcome("test_good.Good.test_expected_failure") == "passed"


def test_a_module_that_cannot_be_imported_is_a_failure(whole_run):
    assert "no_such_module" in whole_run.test("test_unimportable.<import>")["detail"]


def test_a_crash_after_the_last_test_is_seen(whole_run):
    assert whole_run.outcome("test_ends_badly.Ends.test_one") == "passed"
    assert "SIGABRT" in whole_run.test("test_ends_badly.<exit>")["detail"]


def test_the_loop_is_in_place_in_the_tests_and_in_their_processes(whole_run):
    coroutine = whole_run.test("test_good.Coroutines.test_running_loop")
    assert coroutine["outcome"] == "passed"
    assert coroutine["loops"] == 1
    assert whole_run.outcome("test_good.Good.test_other_process") == "passed"
    assert "toy:Loop from " in whole_run.output.splitlines()[0]


def test_tests_that_make_no_loop_are_not_counted_as_on_it(whole_run):
    assert whole_run.test("test_good.Good.test_subtests")["loops"] == 0
    assert whole_run.result["totals"]["on loop"] == 1


def test_excluded_tests_do_not_run(whole_run):
    excluded = whole_run.test("test_good.Good.test_excluded")
    assert excluded["outcome"] == "excluded"
    assert "when_run" not in excluded
    assert whole_run.result["totals"]["excluded"] == 2


def test_an_exclusion_that_matches_nothing_is_stale_in_its_versions_only(whole_run):
    assert whole_run.result["stale"] == ["test_good.Good.test_gone"]
    assert "stale    test_good.Good.test_gone" in whole_run.output


def test_run_excluded_tells_which_pass_and_fails_for_none(conformance):
    run = conformance("--loop", "toy:Loop", "--run-excluded", "test_good")
    assert run.status == 0, run.output
    assert run.test("test_good.Good.test_excluded")["when_run"] == "failed"
    assert run.result["passing_exclusions"] == ["test_good.Good.test_excluded_and_passing"]
    assert "passes   test_good.Good.test_excluded_and_passing" in run.output


def test_the_control_leaves_nothing_out_but_the_environment(conformance):
    run = conformance("--loop", "stdlib", "--no-retry", "test_good", "-k", "excluded")
    assert run.outcome("test_good.Good.test_excluded") == "failed"
    assert run.output.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("loop", ["no_such_module:Loop", "toy:NoSuchLoop", "toy:NotALoop", "toy"])
def test_without_the_loop_nothing_runs(conformance, loop):
    run = conformance("--loop", loop, "test_good")
    assert run.status == 2
    assert run.result is None
    assert run.errors.startswith("conformance: ")
    assert "Traceback" not in run.errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_runner(conformance, tmp_path, number):
    pid_file = tmp_path / "pid"
    with conformance.started("--loop", "stdlib", "--timeout", "60", "test_waits", pid_file=pid_file) as runner:
        wait_until(lambda: pid_file.exists() and pid_file.read_text())
        worker = os.pidfd_open(int(pid_file.read_text()))
        runner.send_signal(number)
        ended, _, _ = select.select([worker], [], [], 10)
        os.close(worker)
        assert ended


def test_list_shows_the_tests_and_their_exclusions(conformance):
    run = conformance("--loop", "toy:Loop", "--list", "test_good", "-k", "Good.test_e")
    assert run.status == 0
    assert run.output.splitlines() == [
        "test_good.Good.test_excluded  [white-box: A reason.]",
        "test_good.Good.test_excluded_and_passing  [white-box: A reason.]",
        "test_good.Good.test_expected_failure",
    ]


@pytest.mark.parametrize(
    ("spec", "version", "expected"),
    [
        (">=3.13", (3, 13, 0), True),
        (">=3.13", (3, 12, 9), False),
        ("<3.13", (3, 12, 9), True),
        ("==3.13", (3, 13, 5), True),
        ("==3.13.0", (3, 13, 5), False),
        (">=3.12, <3.14", (3, 13, 5), True),
        (">=3.12,<3.14", (3, 14, 0), False),
    ],
)
def test_versions_are_compared_to_the_numbers_that_are_given(spec, version, expected):
    assert version_matches(spec, version) is expected


@pytest.mark.parametrize(
    "entry",
    [
        'tests = ["test_a.B.c"]\nkind = "white-box"',
        'tests = ["test_a.B.c"]\nkind = "inconvenient"\nreason = "A reason."',
        'tests = ["test_a.B.c"]\nkind = "later"\nreason = "A reason."',
        'tests = ["test_a.B.c"]\nkind = "white-box"\narea = "pipes"\nreason = "A reason."',
        'tests = ["*.B.c"]\nkind = "white-box"\nreason = "A reason."',
        'kind = "white-box"\nreason = "A reason."',
        'tests = ["test_a.B.c"]\nkind = "white-box"\nversion = ">=3"\nreason = "A reason."',
        'tests = ["test_a.B.c"]\nkind = "white-box"\nversions = "3.13"\nreason = "A reason."',
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused(tmp_path, entry):
    path = tmp_path / "exclusions.toml"
    path.write_text(f"[[exclude]]\n{entry}\n")
    with pytest.raises(Invalid):
        Exclusions(path, (3, 13, 0))


def test_the_list_of_exclusions_keeps_its_rules():
    Exclusions(RUNNER / "white_box.toml", sys.version_info[:3])
