"""``python -m ferrio PROGRAM`` and ``python -m ferrio -m MODULE`` behave as ``python`` does."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only

#: Prints what a program can see of the way in which it was started.
SHOW = """
import json, sys
if __name__ == "__main__":
    main = sys.modules["__main__"]
    print(json.dumps({
        "argv": sys.argv,
        "path": sys.path,
        "file": __file__,
        "package": __package__,
        "spec": None if __spec__ is None else __spec__.name,
        "is the module": vars(main) is globals(),
    }))
"""

WHICH_LOOP = """
import asyncio
async def main():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
asyncio.run(main())
"""


def python(
    *arguments: str, cwd: Path, check: bool = False, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=check, timeout=15, input=given
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "which.py").write_text(WHICH_LOOP)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SHOW)
    (package / "inner.py").write_text(SHOW)
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "__main__.py").write_text(SHOW)
    return tmp_path


def shown(folder: Path, *arguments: str, given: str | None = None) -> dict[str, object]:
    ran = python(*arguments, cwd=folder, given=given)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, object] = json.loads(ran.stdout)
    return seen


def test_a_program_runs_on_ferrios_loop(folder: Path) -> None:
    assert python("-m", "ferrio", "which.py", cwd=folder).stdout == "ferrio\n"
    assert python("which.py", cwd=folder).stdout == "asyncio\n"


def test_a_module_runs_on_ferrios_loop(folder: Path) -> None:
    assert python("-m", "ferrio", "-m", "which", cwd=folder).stdout == "ferrio\n"


@pytest.mark.parametrize("program", ["show.py", "./show.py", "package/inner.py"])
def test_a_program_sees_argv_path_file_and_name_as_with_python(folder: Path, program: str) -> None:
    arguments = [program, "one", "--two", "-m", "three words", "--version"]
    assert shown(folder, "-m", "ferrio", *arguments) == shown(folder, *arguments)


def test_a_program_given_by_its_whole_path_sees_the_same_as_with_python(folder: Path) -> None:
    program = str(folder / "package" / "inner.py")
    assert shown(folder, "-m", "ferrio", program, "x") == shown(folder, program, "x")


@pytest.mark.parametrize("program", ["archive", "package"])
def test_a_folder_with_a_main_module_sees_the_same_as_with_python(folder: Path, program: str) -> None:
    assert shown(folder, "-m", "ferrio", program, "x") == shown(folder, program, "x")


@pytest.mark.parametrize("module", ["show", "package", "package.inner"])
def test_a_module_sees_argv_path_file_and_name_as_with_python(folder: Path, module: str) -> None:
    arguments = ["-m", module, "one", "--two", "-m"]
    assert shown(folder, "-m", "ferrio", *arguments) == shown(folder, *arguments)


def test_a_command_runs_on_ferrios_loop(folder: Path) -> None:
    assert python("-m", "ferrio", "-c", WHICH_LOOP, cwd=folder).stdout == "ferrio\n"


SHOW_COMMAND = """
import json, sys
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "package": __package__,
    "spec": __spec__,
    "loader": repr(__loader__),
    "has a file": "__file__" in globals(),
    "is the module": vars(sys.modules["__main__"]) is globals(),
}))
"""


@pytest.mark.parametrize("options", [[], ["-P"]])
def test_a_command_sees_argv_path_and_name_as_with_python(folder: Path, options: list[str]) -> None:
    arguments = ["-c", SHOW_COMMAND, "one", "--two", "-m", "-c"]
    assert shown(folder, *options, "-m", "ferrio", *arguments) == shown(folder, *options, *arguments)


@pytest.mark.parametrize(
    "command",
    ["import sys; sys.exit(7)", "    print(1)\n    print(2)", "this is no Python", "raise SystemExit('text')"],
)
def test_a_command_ends_as_with_python(folder: Path, command: str) -> None:
    ran, expected = python("-m", "ferrio", "-c", command, cwd=folder), python("-c", command, cwd=folder)
    assert (ran.returncode, ran.stdout) == (expected.returncode, expected.stdout)
    assert bool(ran.stderr) == bool(expected.stderr)


def test_a_program_from_standard_input_runs_on_ferrios_loop_and_sees_the_same_as_with_python(folder: Path) -> None:
    assert python("-m", "ferrio", "-", cwd=folder, given=WHICH_LOOP).stdout == "ferrio\n"
    arguments = ["-", "one", "--two", "-c"]
    seen = shown(folder, "-m", "ferrio", *arguments, given=SHOW_COMMAND)
    assert seen == shown(folder, *arguments, given=SHOW_COMMAND)


@pytest.mark.parametrize("arguments", [["package/uses.py"], ["-m", "package.uses"]])
def test_a_program_imports_its_neighbours_as_with_python(folder: Path, arguments: list[str]) -> None:
    (folder / "package" / "neighbour.py").write_text("")
    (folder / "package" / "uses.py").write_text(
        "try:\n    import neighbour\nexcept ImportError as error:\n    print(error)\n"
        "try:\n    import package.neighbour\nexcept ImportError as error:\n    print(error)\n"
    )
    assert python("-m", "ferrio", *arguments, cwd=folder).stdout == python(*arguments, cwd=folder).stdout


def test_main_is_the_programs_module_as_with_python(folder: Path) -> None:
    (folder / "main.py").write_text(
        "import sys, pickle\n"
        "class Mine: pass\n"
        "main = sys.modules['__main__']\n"
        "print(main.Mine is Mine, vars(main) is globals(), main.__file__)\n"
        "print(type(pickle.loads(pickle.dumps(Mine()))) is Mine)\n"
    )
    assert python("-m", "ferrio", "main.py", cwd=folder).stdout == python("main.py", cwd=folder).stdout


def test_what_a_program_defines_is_alive_while_its_exit_handlers_run(folder: Path) -> None:
    (folder / "late.py").write_text(
        "import atexit\nVALUE = 'alive'\n\n@atexit.register\ndef late():\n    print(VALUE)\n"
    )
    ran, expected = python("-m", "ferrio", "late.py", cwd=folder), python("late.py", cwd=folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, expected.stdout, expected.stderr)


def test_a_thread_that_outlives_the_program_keeps_its_globals(folder: Path) -> None:
    (folder / "threads.py").write_text(
        "import threading\nVALUE = 'alive'\nmain = threading.main_thread()\n"
        "def late():\n    main.join()\n    print(VALUE)\n"
        "threading.Thread(target=late).start()\n"
    )
    ran, expected = python("-m", "ferrio", "threads.py", cwd=folder), python("threads.py", cwd=folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, expected.stdout, expected.stderr)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(folder: Path, option: str) -> None:
    ran = python("-m", "ferrio", option, cwd=folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"ferrio {ferrio.__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_given(folder: Path, option: str) -> None:
    ran = python("-m", "ferrio", option, cwd=folder)
    assert ran.returncode == 0
    assert ran.stdout.startswith("usage: python -m ferrio")
    assert ran.stderr == ""


def test_no_arguments_is_a_mistake_in_the_use(folder: Path) -> None:
    ran = python("-m", "ferrio", cwd=folder)
    assert ran.returncode == 2
    assert "usage: python -m ferrio" in ran.stdout + ran.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["-x"], ["-m"], ["-c"]])
def test_an_unknown_option_is_a_mistake_in_the_use(folder: Path, arguments: list[str]) -> None:
    ran = python("-m", "ferrio", *arguments, cwd=folder)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "usage: python -m ferrio" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_missing_program_is_reported_as_python_reports_it(folder: Path) -> None:
    ran, expected = python("-m", "ferrio", "missing.py", cwd=folder), python("missing.py", cwd=folder)
    assert ran.returncode == expected.returncode == 2
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert "missing.py" in ran.stderr
    assert "No such file or directory" in ran.stderr


def test_a_missing_module_is_reported_as_python_reports_it(folder: Path) -> None:
    ran = python("-m", "ferrio", "-m", "no_such_module", cwd=folder)
    expected = python("-m", "no_such_module", cwd=folder)
    assert ran.returncode == expected.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "No module named no_such_module" in ran.stderr


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit",
        "raise SystemExit(0)",
        "raise SystemExit(7)",
        "raise SystemExit('a message')",
        "import sys; sys.exit(300)",
        "raise LookupError('theirs')",
        "import os; os._exit(3)",
        "import asyncio\nasync def main(): raise SystemExit(9)\nasyncio.run(main())",
        "import asyncio\nasync def main(): raise LookupError('theirs')\nasyncio.run(main())",
        "this is no Python",
    ],
)
def test_exit_codes_are_those_of_python(folder: Path, body: str) -> None:
    (folder / "ends.py").write_text(body + "\n")
    ran, expected = python("-m", "ferrio", "ends.py", cwd=folder), python("ends.py", cwd=folder)
    assert ran.returncode == expected.returncode
    assert ran.stdout == expected.stdout
    assert ran.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


@pytest.mark.parametrize("arguments", [["-m", "ferrio", "wait.py"], ["-m", "ferrio", "-m", "wait"]])
def test_an_interrupt_ends_the_program_as_it_ends_python(folder: Path, arguments: list[str]) -> None:
    (folder / "wait.py").write_text(
        "import asyncio\n"
        "async def main():\n"
        "    print('ready', flush=True)\n"
        "    try:\n"
        "        await asyncio.sleep(30)\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=10)
    # CPython ends itself with the signal after an uncaught KeyboardInterrupt.
    assert program.returncode == -signal.SIGINT
    assert out == "cleaned up\n"
    assert err.splitlines()[-1] == "KeyboardInterrupt"


def test_options_of_the_interpreter_reach_the_program(folder: Path) -> None:
    (folder / "dev.py").write_text(
        "import asyncio, sys\n"
        "async def main(): print(asyncio.get_running_loop().get_debug(), sys.flags.dev_mode)\n"
        "asyncio.run(main())\n"
    )
    assert python("-X", "dev", "-m", "ferrio", "dev.py", cwd=folder).stdout == "True True\n"


def test_a_safe_path_stays_safe(folder: Path) -> None:
    (folder / "path.py").write_text("import sys, json\nprint(json.dumps(sys.path))\n")
    ran = python("-P", "-m", "ferrio", "path.py", cwd=folder, check=True)
    assert json.loads(ran.stdout) == json.loads(python("-P", "path.py", cwd=folder, check=True).stdout)


def test_the_environment_is_left_alone(folder: Path) -> None:
    (folder / "environment.py").write_text("import os, json\nprint(json.dumps(dict(os.environ)))\n")
    ran = python("-m", "ferrio", "environment.py", cwd=folder, check=True)
    assert json.loads(ran.stdout) == json.loads(python("environment.py", cwd=folder, check=True).stdout)
