"""The tables of docs/compatibility.md are true on this interpreter, and their check sees what is not."""

import copy
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "compatibility.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("compatibility_of_the_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]


@pytest.fixture
def data(script: Any) -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(script.DATA.read_text()))


def test_the_page_is_true() -> None:
    ran = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_statuses_of_the_loops_methods_can_be_corrected(script: Any) -> None:
    text = script.DATA.read_text()
    wrong = text.replace('status = "native"', 'status = "asyncio"', 9)
    assert wrong != text
    assert script.with_true_statuses(wrong, script.read(tomllib.loads(wrong))) == text


def without_proof(data: dict[str, Any]) -> None:
    data["loop"]["call_soon"]["arguments"]["context"] = []


def with_a_test_that_is_not_there(data: dict[str, Any]) -> None:
    data["loop"]["call_soon"]["tests"] = ["unit/test_call_soon.py::test_no_such_test"]


def with_a_test_about_something_else(data: dict[str, Any]) -> None:
    data["classes"]["Barrier"]["methods"]["abort"] = [
        "unit/test_timers.py::test_delay_callback_and_when_can_be_given_by_name"
    ]


def with_a_wrong_status(data: dict[str, Any]) -> None:
    data["loop"]["call_soon"]["status"] = "asyncio"


def with_an_unknown_status(data: dict[str, Any]) -> None:
    data["functions"]["gather"]["status"] = "magic"


def without_an_argument(data: dict[str, Any]) -> None:
    del data["loop"]["create_server"]["arguments"]["backlog"]


def without_a_method(data: dict[str, Any]) -> None:
    del data["classes"]["StreamReader"]["methods"]["readuntil"]


def with_a_name_that_asyncio_has_not(data: dict[str, Any]) -> None:
    data["functions"]["spawn"] = {"group": "Tasks and futures", "status": "asyncio", "tests": ["cpython:test_tasks"]}


def with_a_difference_that_is_not_described(data: dict[str, Any]) -> None:
    data["loop"]["call_soon"]["differs"] = "Nowhere"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without_proof, "loop.call_soon(context): no test proves it"),
        (with_a_test_that_is_not_there, "loop.call_soon: there is no test unit/test_call_soon.py::test_no_such_test"),
        (with_a_test_about_something_else, "Barrier.abort: unit/test_timers.py does not mention it"),
        (with_a_wrong_status, 'loop.call_soon: the data say status = "asyncio"'),
        (with_an_unknown_status, "gather: status 'magic' is none of"),
        (without_an_argument, "the arguments of loop.create_server: backlog has no row"),
        (without_a_method, "asyncio.StreamReader: readuntil has no row"),
        (with_a_name_that_asyncio_has_not, "has no spawn"),
        (with_a_difference_that_is_not_described, "loop.call_soon: no heading 'Nowhere'"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_check_sees_a_row(
    script: Any, data: dict[str, Any], spoil: Callable[[dict[str, Any]], None], expected: str
) -> None:
    assert list(script.check(data, script.read(data))) == []
    spoil(data)
    errors = list(script.check(data, script.read(data)))
    assert any(expected in error for error in errors), errors
