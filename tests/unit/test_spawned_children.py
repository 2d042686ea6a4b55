"""Processes that ``multiprocessing`` starts run on the loop of their parent."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .loops import ferrio_only

pytestmark = ferrio_only

PROGRAM = """
    import asyncio, multiprocessing, sys
    from asyncio import sleep
    from concurrent.futures import ProcessPoolExecutor

    def names():
        # What the program has imported by name, and what it makes, wherever it runs.
        return type(asyncio.new_event_loop()).__module__, type(sleep).__name__, asyncio.Queue.__module__

    def names_of_a_grandchild(method):
        with multiprocessing.get_context(method).Pool(1) as pool:
            return pool.apply(names)

    def put_names(queue):
        queue.put(names())

    async def in_executor(method):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, names)

    def in_process(method):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=put_names, args=(queue,))
        process.start()
        told = queue.get()
        process.join()
        return told

    def main(method):
        print(*names())
        print(*in_process(method))
        print(*asyncio.run(in_executor(method)))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
            print(*executor.submit(names_of_a_grandchild, method).result())

    if __name__ == "__main__":
        main(sys.argv[1])
"""
FERRIOS = "ferrio._event_loop CoroutineFunction ferrio.asyncio"
ASYNCIOS = "asyncio.unix_events function asyncio.queues"

each_method = pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])


def lines(folder: Path, *command: str) -> list[str]:
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    return tmp_path


@each_method
def test_children_of_a_program_on_ferrio_are_on_ferrio(folder: Path, method: str) -> None:
    assert lines(folder, "-m", "ferrio", "program.py", method) == [FERRIOS] * 4


@each_method
def test_children_of_a_module_on_ferrio_are_on_ferrio(folder: Path, method: str) -> None:
    assert lines(folder, "-m", "ferrio", "-m", "program", method) == [FERRIOS] * 4


@each_method
def test_children_of_asyncio_are_on_asyncio(folder: Path, method: str) -> None:
    assert lines(folder, "program.py", method) == [ASYNCIOS] * 4


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_are_on_what_is_installed_when_they_start(folder: Path, method: str) -> None:
    (folder / "installing.py").write_text(
        textwrap.dedent("""
        import sys, ferrio, program
        if __name__ == "__main__":
            for change in (ferrio.install, ferrio.uninstall, ferrio.install):
                change()
                print(*program.in_process(sys.argv[1]))
        """)
    )
    assert lines(folder, "installing.py", method) == [FERRIOS, ASYNCIOS, FERRIOS]


def test_a_child_finds_ferrio_where_its_parent_has(folder: Path) -> None:
    # Neither installed nor in the environment: in a folder that the program itself has put into the path.
    import ferrio

    package = Path(ferrio.__file__).parent.parent
    (folder / "hidden.py").write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.append({str(package)!r})
        import ferrio, program
        if __name__ == "__main__":
            ferrio.install()
            print(*program.in_process("spawn"))
        """)
    )
    assert lines(folder, "-S", "hidden.py") == [FERRIOS]
