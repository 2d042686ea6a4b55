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
    names = ("_installation", "_namespace", "_nesting", "_policy", "_stalls", "_statistics", "_watching")
    late = [f"ferrio.{name}" for name in names]
    program = f"import ferrio, sys; print([name for name in {late} if name in sys.modules])"
    assert run_alone(program) == "[]"


def test_the_package_imports_nothing_of_the_standard_library_that_asyncio_does_not() -> None:
    program = "import asyncio, sys; before = {*sys.modules}; import ferrio; print(*{*sys.modules} - before)"
    assert {name for name in run_alone(program).split() if not name.startswith("ferrio")} == {"__future__"}


def test_the_import_leaves_none_of_its_futures_and_tasks_behind() -> None:
    program = """
import gc
gc.disable()
import asyncio
import ferrio
print([each for each in gc.get_objects() if isinstance(each, asyncio.Future)])
"""
    assert run_alone(program) == "[]"


# The counters are the first that a program uses of their module.
USES_OF_A_LATE_MODULE = {
    "in a thread": """
import threading
thread = threading.Thread(target=lambda: print(loop.statistics().turns))
thread.start()
thread.join()
""",
    "in a forked child": """
import os
child = os.fork()
if child == 0:
    print(loop.statistics().turns, flush=True)
    os._exit(0)
os.waitpid(child, 0)
""",
    "at the end of the program": """
import atexit
atexit.register(lambda: print(loop.statistics().turns))
""",
    "in a callback": """
loop.call_soon(lambda: (print(loop.statistics().turns - 1), loop.stop()))
loop.run_forever()
""",
}


@pytest.mark.parametrize("use", USES_OF_A_LATE_MODULE.values(), ids=USES_OF_A_LATE_MODULE)
def test_a_late_module_can_be_imported(use: str) -> None:
    assert run_alone(f"import ferrio\nloop = ferrio.new_event_loop()\n{use}") == "0"


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
