"""Running a program or a module as ``python`` would: with the same ``__main__``, arguments and import path."""

from __future__ import annotations

import os
import runpy
import sys
import textwrap
import types
from importlib.machinery import BuiltinImporter, SourceFileLoader


def run_module(name: str, arguments: list[str]) -> None:
    """Run module *name* as ``python -m`` does. ``python -m ferrio`` has already set ``sys.path`` in the same way."""
    sys.argv = [name, *arguments]
    _fresh_main()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_command(command: str, arguments: list[str]) -> None:
    """Run *command* as ``python -c`` does."""
    sys.argv = ["-c", *arguments]
    if sys.version_info >= (3, 14):
        command = textwrap.dedent(command)
    _run_text(command, "<string>", {})


def run_input(arguments: list[str]) -> None:
    """Run the program that standard input holds, as ``python -`` does where that is no terminal."""
    sys.argv = ["-", *arguments]
    _run_text(sys.stdin.buffer.read(), "<stdin>", {"__file__": "<stdin>"})


def _run_text(source: str | bytes, name: str, names: dict[str, str]) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = ""
    main = _fresh_main()
    main.__dict__.update(names, __loader__=BuiltinImporter)
    exec(compile(source, name, "exec"), main.__dict__)


def run_program(path: str, arguments: list[str]) -> None:
    """Run the program at *path*, a file or a folder (or archive) with a ``__main__.py``, as ``python`` does."""
    sys.argv = [path, *arguments]
    if os.path.isdir(path) or _is_archive(path):
        # As with plain python, the program itself comes first on the path, even with -P.
        if not sys.flags.safe_path:
            del sys.path[0]
        sys.path.insert(0, os.path.abspath(path))
        _fresh_main()
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        whole = os.path.abspath(path)
        print(
            f"{sys.executable}: can't open file {whole!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    whole = os.path.abspath(path) if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    main = _fresh_main()
    main.__file__ = whole
    main.__dict__["__loader__"] = SourceFileLoader("__main__", whole)
    main.__dict__["__cached__"] = None
    exec(compile(source, whole, "exec"), main.__dict__)


def _fresh_main() -> types.ModuleType:
    # In sys.modules, the program's globals outlive this call: threads and exit handlers use them.
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    return main


def _is_archive(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    import zipfile

    return zipfile.is_zipfile(path)
