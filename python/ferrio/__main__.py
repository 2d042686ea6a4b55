"""``python -m ferrio app.py``, ``-m module``, ``-c command``, ``-``: a program on Ferrio's loop; ``doctor``."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

from . import __version__, inspect, install
from ._program import run_command, run_input, run_module, run_program
from ._watching import VARIABLE, seconds

USAGE = """\
usage: python -m ferrio [--version | --help]
       python -m ferrio [--watch SECONDS] PROGRAM.py [ARG ...]
       python -m ferrio [--watch SECONDS] -m MODULE [ARG ...]
       python -m ferrio [--watch SECONDS] -c COMMAND [ARG ...]
       python -m ferrio [--watch SECONDS] - [ARG ...]
       python -m ferrio doctor [--json] [--no-trials] [--no-comparison]
       python -m ferrio dump [--json] PID
       python -m ferrio top [--once] [--interval SECONDS] PID

Runs a Python program with Ferrio's event loop in place of asyncio's; for `-`, the one that standard input holds.

--watch reports callbacks that block the loop for about so long, while they do. `doctor` says whether Ferrio works here,
what would hurt, and how fast it is (a program of that name is ./doctor). `dump` shows what the loops of a process of
yours are at that runs with FERRIO_INSPECT=1, `top` shows it again and again, with rates and times."""


def main() -> None:
    """Run the program that the command line names."""
    run(sys.argv[1:])


def run(command_line: list[str]) -> None:
    """Do what *command_line* says."""
    match command_line:
        case ["-h" | "--help", *_]:
            print(USAGE)
        case ["-V" | "--version", *_]:
            print(f"ferrio {__version__}")
        case []:
            misuse("nothing to run")
        case ["--watch"]:
            misuse("--watch needs a number of seconds")
        case ["--watch", slow_s, *rest]:
            try:
                seconds(slow_s)
            except ValueError as error:
                misuse(f"--watch: {error}")
            os.environ[VARIABLE] = slow_s
            run(rest)
        case ["dump", *options, pid] if pid.isdecimal() and options in ([], ["--json"]):
            dump(int(pid), as_json=bool(options))
        case ["dump", *_]:
            misuse("dump needs the number of a process: dump [--json] PID")
        case ["top", *arguments]:
            from . import _top

            try:
                process, interval_s, once = _top.options(arguments)
            except ValueError as error:
                misuse(f"top: {error}")
            sys.exit(_top.main(process, interval_s, once=once))
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
        case ["-", *arguments]:
            install()
            run_input(arguments)
        case ["doctor", *arguments]:
            from . import _doctor

            sys.exit(_doctor.main(arguments))
        case [option, *_] if option.startswith("-"):
            misuse(f"no such option: {option}")
        case [program, *arguments]:
            install()
            run_program(program, arguments)


def dump(pid: int, *, as_json: bool) -> None:
    """Show what the loops of the process *pid* are at."""
    try:
        picture = inspect.ask(pid)
    except (FileNotFoundError, ConnectionError):
        print(
            f"python -m ferrio dump: process {pid} does not answer: it is not yours, has ended, "
            "or was not started with FERRIO_INSPECT=1",
            file=sys.stderr,
        )
        sys.exit(1)
    except OSError as error:
        print(f"python -m ferrio dump: process {pid}: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(picture, indent=2) if as_json else inspect.as_text(picture).rstrip("\n"))


def misuse(text: str) -> NoReturn:
    """Say what is wrong with the command line, and end."""
    print(f"python -m ferrio: {text}\n{USAGE}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
