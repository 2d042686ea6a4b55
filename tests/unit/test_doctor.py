"""``python -m ferrio doctor``: its findings, its figures, its exit status."""

import asyncio
import json
import resource
import subprocess
import sys
import types
from pathlib import Path

import pytest

import ferrio
from ferrio import _doctor
from ferrio._doctor import comparison, facts, neighbours, report, self_test
from ferrio._doctor.finding import Finding, State

from .loops import ferrio_only

pytestmark = ferrio_only


def test_every_trial_works_here() -> None:
    found = {finding.what: finding.value for finding in self_test.findings()}
    assert list(found) == list(self_test.TRIALS)
    assert [value for value in found.values() if not value.startswith("works")] == []


def test_a_trial_that_fails_is_a_fault_and_says_how() -> None:
    async def wrong() -> None:
        raise LookupError("theirs")

    finding = self_test.trial("something", wrong)
    assert (finding.value, finding.state) == ("LookupError: theirs", State.FAULT)


def test_what_a_trial_returns_is_said() -> None:
    async def engine() -> str:
        return "the fast engine"

    assert self_test.trial("something", engine).value == "works, the fast engine"


def test_a_trial_that_does_not_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "LIMIT_S", 0.01)
    finding = self_test.trial("something", lambda: asyncio.sleep(3600))
    assert (finding.value, finding.state) == ("it took too long", State.FAULT)


def test_a_trial_for_which_something_is_missing_is_no_fault() -> None:
    async def impossible() -> None:
        raise self_test.NotTried("there is none")

    finding = self_test.trial("something", impossible)
    assert (finding.value, finding.state) == ("not tried: there is none", State.FINE)


@pytest.mark.parametrize(
    ("arguments", "is_of_another", "advises"),
    [("", False, True), ("--enable-optimizations", False, False), ("--enable-shared", True, False)],
)
def test_only_a_build_that_is_known_to_be_unoptimised_is_called_so(
    monkeypatch: pytest.MonkeyPatch, arguments: str, is_of_another: bool, advises: bool
) -> None:
    monkeypatch.setattr(facts.sysconfig, "get_config_var", lambda name: arguments)
    monkeypatch.setattr(facts, "describes_another_build", lambda: is_of_another)
    monkeypatch.delattr(sys, "gettotalrefcount", raising=False)
    found = {finding.what: finding for finding in facts.interpreter()}
    assert ("without optimisation" in found["interpreter"].value, bool(found["interpreter"].advice)) == (advises,) * 2


def test_what_is_native_here_is_told() -> None:
    found = {finding.what: finding for finding in facts.native()}
    assert found["tasks and futures"].value.startswith("native") == (ferrio.Task is not asyncio.Task)
    assert found["the loop"].value.startswith("native")


def test_tasks_that_were_switched_off_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRIO_NATIVE_TASKS", "0")
    finding = next(finding for finding in facts.native() if finding.what == "tasks and futures")
    assert (finding.state, "FERRIO_NATIVE_TASKS=0" in finding.value) == (State.ADVICE, True)


@pytest.mark.parametrize(("soft", "state"), [(1024, State.ADVICE), (65536, State.FINE), (-1, State.FINE)])
def test_few_descriptors_are_worth_advice(monkeypatch: pytest.MonkeyPatch, soft: int, state: State) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, 1_000_000))
    finding = next(finding for finding in facts.limits() if "ulimit" in finding.what)
    assert (finding.state, bool(finding.advice)) == (state, state is State.ADVICE)


def test_a_kernel_without_pidfd_is_worth_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int) -> int:
        raise PermissionError(1, "denied")

    monkeypatch.setattr("os.pidfd_open", refused)
    finding = next(finding for finding in facts.kernel() if finding.what == "ends of children")
    assert (finding.state, "denied" in finding.value) == (State.ADVICE, True)


def test_uvicorn_takes_uvloop_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"uvicorn": "0.40.0"}
    monkeypatch.setattr(neighbours, "version", installed.get)
    assert neighbours.findings()[0].value == "takes asyncio's loop"
    installed["uvloop"] = "0.22.0"
    assert neighbours.findings()[0].value == "takes uvloop's loop, because it is installed"


def test_an_environment_without_libraries_has_a_sentence_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "version", lambda _name: None)
    assert [finding.value for finding in neighbours.findings()] == ["none that the doctor knows"]


def test_a_comparison_has_a_figure_for_each_loop_and_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "LOOPS", ("ferrio", "there_is_no_such_loop"))
    figures = comparison.compare(rounds=1, seconds=0.01)
    assert len(figures) == 5
    for by_loop in figures.values():
        assert sorted(by_loop) == ["asyncio", "ferrio"]
        assert all(figure > 0 for figure in by_loop.values())


def test_a_loop_whose_program_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "LOOPS", ("json", "ferrio"))  # json has no new_event_loop
    assert {name for by_loop in comparison.compare(1, 0.01).values() for name in by_loop} == {"asyncio", "ferrio"}


def test_the_ratio_is_a_geometric_mean() -> None:
    figures = {"one": {"asyncio": 10.0, "ferrio": 1.0}, "two": {"asyncio": 10.0, "ferrio": 1000.0}}
    assert report.mean_ratio(figures) == pytest.approx(10**0.5)
    assert report.mean_ratio({"one": {"asyncio": 10.0}}) is None


def test_the_verdict_names_what_does_not_work() -> None:
    sections = {"A": [Finding("TCP", "no", State.FAULT), Finding("UDP", "works")]}
    assert report.verdict(sections) == "Ferrio does not work as it should here: TCP (marked ! above)."


def run_doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferrio", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_document_for_programs_has_everything() -> None:
    ran = run_doctor("--json", "--no-comparison")
    document = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr, document["works"], document["cpu_ns"]) == (0, "", True, None)
    assert len(document["sections"]["Trials on a Ferrio loop"]) == len(self_test.TRIALS)


def test_the_text_ends_with_the_verdict() -> None:
    ran = run_doctor("--no-trials", "--no-comparison")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1].startswith("Ferrio works here")


def test_a_fault_is_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faulty = types.SimpleNamespace(findings=lambda: [Finding("TCP", "no", State.FAULT, "report it")])
    monkeypatch.setattr(_doctor, "self_test", faulty)
    assert _doctor.main(["--no-comparison"]) == 1
    assert "! TCP" in capsys.readouterr().out


def test_a_wrong_option_is_misuse() -> None:
    assert run_doctor("--lore").returncode == 2


def test_a_program_called_doctor_is_run_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "doctor").write_text("print('the program')")
    command = [sys.executable, "-m", "ferrio", "./doctor"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == "the program\n"
