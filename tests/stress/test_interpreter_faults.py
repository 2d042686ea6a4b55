"""The faults of CPython's that ``interpreter_faults.py`` takes the harm from."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("_testcapi", reason="this interpreter has no module to make allocations fail with")

FOLDER = Path(__file__).parent


def output_of(program: str) -> str:
    command = [sys.executable, "-c", f"import interpreter_faults as faults\n{program}"]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.skipif((3, 12) <= sys.version_info < (3, 14), reason="depends on the release of this version")
def test_this_version_has_none() -> None:
    assert output_of("print([has_fault.__name__ for has_fault in faults.FAULTS if has_fault()])") == "[]"


def test_code_whose_references_are_kept_outlives_functions_that_cannot_be_made() -> None:
    program = """
def outer():
    return lambda: None
(code,) = faults.codes_in(outer.__code__)
outer()
faults.keep_references_to_code()
for _ in range(faults.REFERENCES // 2):
    faults.without_memory(outer)
print(type(outer()).__name__, code.co_name)
"""
    assert output_of(program) == "function <lambda>"


def test_a_dictionary_with_room_counts_what_is_in_it_after_a_failed_setdefault() -> None:
    program = """
from asyncio import tasks
faults.make_room_for_tasks()
current = tasks._current_tasks
for _ in range(20):
    key = object()
    faults.without_memory(lambda: current.setdefault(key))
print(len(current) == len(list(current)))
"""
    assert output_of(program) == "True"
