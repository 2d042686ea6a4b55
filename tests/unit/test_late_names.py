"""Names of the package whose modules are imported when they are first used."""

import pickle
import subprocess
import sys

import pytest

import ferrio
import ferrio.asyncio

from .loops import ferrio_only

pytestmark = ferrio_only


def run_alone(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_what_programs_seldom_use_is_not_imported_with_the_package() -> None:
    late = ("ferrio._installation", "ferrio._namespace", "ferrio._policy", "ferrio._stalls", "ferrio._watching")
    program = f"import ferrio, sys; print([name for name in {late} if name in sys.modules])"
    assert run_alone(program) == "[]"


def test_a_late_name_is_listed_before_it_is_used_and_stays_the_same_object() -> None:
    program = "import ferrio; print('watch' in dir(ferrio), ferrio.watch is ferrio.watch, 'watch' in vars(ferrio))"
    assert run_alone(program) == "True True True"


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'ferrio' has no attribute 'absent'"):
        ferrio.absent  # noqa: B018


def test_a_pickled_function_is_found_where_only_the_package_was_imported() -> None:
    pickled = pickle.dumps(ferrio.asyncio.Queue.get)
    program = f"import ferrio, pickle; print(pickle.loads({pickled!r}).__name__)"
    assert run_alone(program) == "get"
    function = "import ferrio._copying as c; print(c.native_function('sleep').__name__)"
    assert run_alone(function) == "sleep"
