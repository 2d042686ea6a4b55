"""``python -m ferrio app.py``, ``-m module``, ``-c command``: a program, unchanged, on Ferrio's loop."""

from __future__ import annotations

import sys
from typing import NoReturn

from . import __version__, install
from ._program import run_command, run_module, run_program

USAGE = """\
usage: python -m ferrio [--version | --help] PROGRAM.py [ARG ...]
       python -m ferrio -m MODULE [ARG ...]
       python -m ferrio -c COMMAND [ARG ...]

Runs a Python program with Ferrio's event loop in place of asyncio's."""


def main() -> None:
    """Run the program that the command line names."""
    match sys.argv[1:]:
        case ["-h" | "--help", *_]:
            print(USAGE)
        case ["-V" | "--version", *_]:
            print(f"ferrio {__version__}")
        case []:
            misuse("nothing to run")
        case ["-m"]:
            misuse("-m needs a module")
        case ["-m", module, *arguments]:
            install()
            run_module(module, arguments)
        case ["-c"]:
            misuse("-c needs a command")
        case ["-c", command, *arguments]:
            install()
            run_command(command, arguments)
        case [option, *_] if option.startswith("-"):
            misuse(f"no such option: {option}")
        case [program, *arguments]:
            install()
            run_program(program, arguments)


def misuse(text: str) -> NoReturn:
    """Say what is wrong with the command line, and end."""
    print(f"python -m ferrio: {text}\n{USAGE}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
