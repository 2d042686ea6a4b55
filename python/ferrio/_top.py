"""``python -m ferrio top PID``: what the loops of a process do, again and again, in a terminal.

A frame is made of two summaries (``ferrio.inspect``): rates and times are those between the two. What is drawn is a
list of lines; ``frame`` knows nothing of terminals. Text from the process is shown without its control characters.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from . import inspect
from ._stalls import Place
from ._statistics import Histogram

__all__ = ["frame", "main", "options"]

#: Rows of a table.
MOST_ROWS = 12
#: Calls of the stack of what blocks, the innermost ones: frameworks have dozens around a program's own.
MOST_CALLS = 6

#: Another screen, without a cursor and without wrapped lines; and back.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Look(NamedTuple):
    """What one look at a process has found."""

    at: float
    """Seconds of the monotonic clock."""
    cpu_s: float
    """Seconds of processor's time that the process has taken."""
    summary: dict[str, Any]


def options(arguments: list[str]) -> tuple[int, float, bool]:
    """The number of the process, the seconds from frame to frame, and whether there is to be one frame only.

    Raises:
        ValueError: The arguments are wrong.
    """
    interval_s, once, pid = 1.0, False, None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--once":
            once = True
        elif argument == "--interval":
            try:
                interval_s = float(next(rest, ""))
            except ValueError:
                interval_s = 0.0
            if not 0.1 <= interval_s <= 3600:
                raise ValueError("--interval needs a number of seconds from 0.1 to 3600")
        elif argument.isdecimal() and pid is None:
            pid = int(argument)
        else:
            raise ValueError(f"cannot be told {argument!r}")
    if pid is None:
        raise ValueError("needs the number of a process: top [--once] [--interval SECONDS] PID")
    return pid, interval_s, once


def main(pid: int, interval_s: float, *, once: bool) -> int:
    """Show frames until somebody presses ``q``; one if *once*, or if the output is no terminal. The exit status."""
    with contextlib.suppress(AttributeError):
        # The names in a process may be in any script.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if once or not sys.stdout.isatty():
            earlier = _look(pid)
            time.sleep(interval_s)
            print("\n".join(frame(earlier, _look(pid))))
        else:
            _show(pid, interval_s)
    except (FileNotFoundError, ConnectionError):
        text = "does not answer: it is not yours, has ended, or was not started with FERRIO_INSPECT=1"
        print(f"python -m ferrio top: process {pid} {text}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"python -m ferrio top: process {pid}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _look(pid: int) -> Look:
    summary = inspect.ask(pid, "summary")
    with open(f"/proc/{pid}/stat", "rb") as file:
        # After the name of the program, which may contain anything.
        fields = file.read().rpartition(b")")[2].split()
    return Look(time.monotonic(), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), summary)


# --- the terminal ----------------------------------------------------------------------------------------------------


def _show(pid: int, interval_s: float) -> None:
    earlier = _look(pid)
    with _terminal() as keys:
        shows_stacks, above = False, 0
        _draw([f"ferrio top: process {pid}, the first figures come in {interval_s:g} s", "", HELP])
        while True:
            pressed = _pressed(keys, interval_s)
            if "q" in pressed:
                return
            if pressed.count("s") % 2:
                shows_stacks, above = not shows_stacks, 0
            later = _look(pid)
            lines = frame(earlier, later)
            if not shows_stacks:
                lines = [HELP, "", *lines]
            else:
                text = inspect.as_text(inspect.ask(pid)).splitlines()
                page = max(1, _height() - 3)
                above += page * (pressed.count("j") - pressed.count("k"))
                above = max(0, min(above, len(text) - page))
                lines = [HELP, "", *text[above:]]
            _draw(lines)
            if not pressed:
                # One that was drawn because of a key has the figures since the last interval.
                earlier = later


HELP = "q: quit   s: every task and where it is, or back   j, k: down, up there"


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """The descriptor from which keys come one by one, None without any; the terminal is as before in the end."""
    import termios
    import tty

    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    before = None if keys is None else termios.tcgetattr(keys)

    def end(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    handlers = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if keys is not None:
            tty.setcbreak(keys)
        sys.stdout.write(ENTER)
        yield keys
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _pressed(keys: int | None, limit_s: float) -> str:
    """The keys that are pressed within the limit, as soon as there is one."""
    if keys is None:
        time.sleep(limit_s)
        return ""
    ready, _, _ = select.select([keys], [], [], limit_s)
    if not ready:
        return ""
    pressed = os.read(keys, 64)
    # Without any, the terminal has gone.
    return pressed.decode("ascii", "replace").lower() if pressed else "q"


def _height() -> int:
    """The terminal's lines. It is asked: the variable LINES, which readline sets, knows nothing of a change."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except OSError:
        return 24


def _draw(lines: list[str]) -> None:
    text = f"{REST_OF_LINE}\r\n".join(_printable(line) for line in lines[: _height()])
    sys.stdout.write(f"{HOME}{text}{REST_OF_SCREEN}")
    sys.stdout.flush()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


# --- what is shown ---------------------------------------------------------------------------------------------------


def frame(earlier: Look, later: Look) -> list[str]:
    """The lines that say what the process has done between two looks."""
    passed_s = max(later.at - earlier.at, 1e-9)
    summary = later.summary
    program = " ".join(summary.get("program", ()))
    lines = [f"process {summary['pid']}: {program}" if program else f"process {summary['pid']}"]
    of_process = f"CPU {100 * (later.cpu_s - earlier.cpu_s) / passed_s:.1f} %"
    if "python" in summary:
        of_process += f"   CPython {summary['python']}, Ferrio {summary['ferrio']}"
    lines.append(of_process)
    if summary.get("keeps_interpreter"):
        lines.append("The interpreter (the GIL) is kept by a function in C: nothing but stacks can be seen.")
    if "error" in summary:
        lines.append(f"The process cannot say more: {summary['error']}")
    before = {loop.get("loop"): loop for loop in earlier.summary["loops"] if "statistics" in loop}
    for loop in summary["loops"]:
        lines += ["", *_loop_lines(before.get(loop.get("loop")), loop, passed_s)]
    return [_printable(line) for line in lines]


def _loop_lines(before: dict[str, Any] | None, loop: dict[str, Any], passed_s: float) -> Iterator[str]:
    state = "is running" if loop["is_running"] else "is not running"
    yield f"loop {loop.get('loop', '')} {'is BLOCKED' if loop['stack'] is not None else state}".replace("  ", " ")
    if loop["stack"]:
        yield "  by (most recent call last):"
        outer = len(loop["stack"]) - MOST_CALLS
        if outer > 0:
            yield f"    ... {outer} outer calls"
        for file, function, line in loop["stack"][-MOST_CALLS:]:
            yield from ("  " + text for text in str(Place(file, line, function)).rstrip("\n").split("\n"))
    if "statistics" not in loop:
        return
    now = loop["statistics"]
    then = before["statistics"] if before is not None else now

    def rate(field: str) -> float:
        return float((now[field] - then[field]) / passed_s)

    yield (
        f"  callbacks {rate('callbacks'):.0f}/s   turns {rate('turns'):.0f}/s   timers {rate('timers_fired'):.0f}/s   "
        f"received {_bytes(rate('received_bytes'))}/s   sent {_bytes(rate('sent_bytes'))}/s"
    )
    yield (
        f"  connections {now['connections']}   to send {_bytes(now['queued_bytes'])}   tasks {loop['task_count']}   "
        f"ready {now['ready']}   timers {now['timers']}   descriptors {now['watched']}   "
        f"executor {now['executor_busy']} busy, {now['executor_queue']} waiting"
    )
    yield from _times(before, loop, passed_s)
    yield from _coroutines(before, loop, passed_s)
    yield from _groups(loop)
    yield from _stalls(loop)


def _times(before: dict[str, Any] | None, loop: dict[str, Any], passed_s: float) -> Iterator[str]:
    yield ""
    yield f"  {'':12}{'per s':>10}{'p50':>10}{'p99':>10}{'max':>10}{'share':>8}"
    for name, shown in (("timer_lag", "timer lag"), ("turns", "turns"), ("callbacks", "callbacks"), ("waits", "waits")):
        times = _histogram(loop, name)
        if before is not None:
            times -= _histogram(before, name)
        share = "" if name == "timer_lag" else f"{100 * times.sum_s / passed_s:.1f} %"
        columns = "".join(f"{_time(each):>10}" for each in (times.quantile(0.5), times.quantile(0.99), times.longest()))
        yield f"  {shown:12}{times.total / passed_s:10.1f}{columns}{share:>8}".rstrip()


def _histogram(loop: dict[str, Any], name: str) -> Histogram:
    *counts, sum_s = loop["histograms"][name]
    return Histogram(tuple(counts), sum_s)


def _coroutines(before: dict[str, Any] | None, loop: dict[str, Any], passed_s: float) -> Iterator[str]:
    known = {} if before is None else before["coroutines"]
    rows = []
    for name, (steps, cpu_s, longest_s) in loop["coroutines"].items():
        steps_before, cpu_before_s, _ = known.get(name, (0, 0.0, 0.0))
        if steps > steps_before:
            rows.append((cpu_s - cpu_before_s, (steps - steps_before) / passed_s, longest_s, name))
    if rows:
        yield ""
        yield f"  {'CPU':>8}{'steps/s':>10}{'longest':>10}  coroutine"
    for cpu_s, steps_per_s, longest_s, name in sorted(rows, reverse=True)[:MOST_ROWS]:
        yield f"  {100 * cpu_s / passed_s:6.1f} %{steps_per_s:10.1f}{_time(longest_s):>10}  {name}"


def _groups(loop: dict[str, Any]) -> Iterator[str]:
    if loop["groups"]:
        yield ""
        yield f"  {'tasks':>8}  coroutine, what it waits for, where"
    for group in loop["groups"][:MOST_ROWS]:
        where = ""
        if group["place"]:
            file, function, line = group["place"]
            where = f', in {function}, "{file}", line {line}'
        yield f"  {group['count']:8}  {group['coroutine']}, {group['waits_for'] or 'nothing'}{where}"
    others = loop["task_count"] - loop["tasks_looked_at"]
    if others:
        yield f"  {others:8}  were not looked at"


def _stalls(loop: dict[str, Any]) -> Iterator[str]:
    if loop["stalls"]:
        yield ""
        yield f"  {'lasted':>8}{'times':>7}  stalls that ferrio.watch has seen"
    for stall in reversed(loop["stalls"]):
        where = stall["coroutine"] or "a callback"
        if stall["place"]:
            file, function, line = stall["place"]
            where += f', in {function}, "{file}", line {line}'
        yield f"  {_time(stall['lasted_s']):>8}{stall['times']:7}  {where}" + ("" if stall["is_over"] else ", lasts")


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1e6:.1f} us" if seconds else "0"


def _bytes(count: float) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
