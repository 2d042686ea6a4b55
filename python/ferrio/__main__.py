"""``python -m ferrio app.py``, ``-m module``, ``-c command``: a program, unchanged, on Ferrio's loop; ``doctor``."""

from __future__ import annotations

import sys
from typing import NoReturn

from . import __version__, install
from ._program import run_command, run_module, run_program

USAGE = """\
usage: python -m ferrio [--version | --help] PROGRAM.py [ARG ...]
       python -m ferrio -m MODULE [ARG ...]
       python -m ferrio -c COMMAND [ARG ...]
       python -m ferrio doctor [--json] [--no-trials] [--no-comparison]

Runs a Python program with Ferrio's event loop in place of asyncio's. With `doctor`, says whether Ferrio works here,
what would hurt, and how fast it is (a program of that name is ./doctor)."""


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
        case ["doctor", *arguments]:
            from . import _doctor

            sys.exit(_doctor.main(arguments))
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
