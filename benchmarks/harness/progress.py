"""One line that says what is being measured and how long the rest will take."""

import sys
import time
from typing import TextIO


def span(seconds: float) -> str:
    """``75`` becomes ``1 min 15 s``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Progress:
    """Rewrites its line on a terminal; elsewhere prints one whenever the heading changes."""

    def __init__(self, planned_s: list[float], stream: TextIO = sys.stderr) -> None:
        self.planned_s = planned_s
        self.stream = stream
        self.done = 0
        self.begin = time.monotonic()
        self.last_heading = ""
        self.width = 0

    def left_s(self) -> float:
        """Time for the rest, at the pace so far; the plan's own figures until there is a pace."""
        behind = sum(self.planned_s[: self.done])
        ahead = sum(self.planned_s[self.done :])
        pace = (time.monotonic() - self.begin) / behind if self.done else 1.0
        return ahead * pace

    def show(self, heading: str, detail: str) -> None:
        """Announce the next sample."""
        count = len(self.planned_s)
        left = f"about {span(self.left_s())} left"
        if self.stream.isatty():
            line = f"[{self.done + 1:>{len(str(count))}}/{count}] {heading}, {detail}, {left}"
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        elif heading != self.last_heading:
            self.stream.write(f"{heading}, {left}\n")
        self.last_heading = heading
        self.stream.flush()

    def advance(self) -> None:
        self.done += 1

    def say(self, sentence: str) -> None:
        """Print a line of its own that stays."""
        self.clear()
        self.stream.write(sentence + "\n")
        self.stream.flush()

    def clear(self) -> None:
        if self.stream.isatty() and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
