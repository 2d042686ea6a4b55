"""``python -m ferrio app.py``, ``python -m ferrio -m module``: a program, unchanged, on Ferrio's loop."""

from __future__ import annotations

import runpy
import sys

from . import __version__, install

USAGE = """\
usage: python -m ferrio [--version | --help] PROGRAM.py [ARG ...]
       python -m ferrio -m MODULE [ARG ...]

Runs a Python program with Ferrio's event loop in place of asyncio's."""


def main() -> None:
    """Run the program that the command line names."""
    arguments = sys.argv[1:]
    match arguments:
        case [] | ["-h" | "--help", *_]:
            print(USAGE)
            sys.exit(0 if arguments else 2)
        case ["-V" | "--version", *_]:
            print(f"ferrio {__version__}")
        case ["-m"]:
            sys.exit(f"python -m ferrio: -m needs a module\n{USAGE}")
        case ["-m", module, *rest]:
            install()
            sys.argv = [module, *rest]
            sys.path[0] = ""
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [option, *_] if option.startswith("-"):
            sys.exit(f"python -m ferrio: no such option: {option}\n{USAGE}")
        case [program, *rest]:
            install()
            sys.argv = [program, *rest]
            sys.path.pop(0)
            runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
