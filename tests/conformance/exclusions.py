"""The tests that are left out on purpose, read from a TOML file, each with its reason.

[[exclude]]
tests = ["test_events.*EventLoopTests.test_internal_fds"]   # fnmatch patterns after the module
versions = ">=3.12,<3.15"                                   # optional; every condition must hold
kind = "white-box"                                          # see KINDS
area = "sendfile"                                           # for kind "later": what brings it
reason = "One sentence."
"""

import fnmatch
import operator
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

KINDS = {
    "white-box": "looks inside the selector loop",
    "later": "belongs to a part that is not there yet",
    "environment": "fails with asyncio's own loop too",
}
AREAS = ("subprocess", "datagram", "pipes", "sendfile")
ON_STDLIB = "environment"  # the only kind that is left out when asyncio's own loop is run

_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*$")


class Invalid(Exception):
    """The file breaks a rule; the message says which entry and which rule."""


@dataclass
class Exclusion:
    """One pattern of one entry, and the tests of this run that it matched."""

    pattern: str
    kind: str
    reason: str
    matched: list[str] = field(default_factory=list)

    @property
    def module(self) -> str:
        return self.pattern.partition(".")[0]


def version_matches(spec: str, version: tuple[int, ...]) -> bool:
    """Whether *version* meets every condition of *spec*, each compared to as many numbers as it gives.

    >>> version_matches(">=3.12,<3.14", (3, 13, 1)), version_matches("==3.13", (3, 13, 1))
    (True, True)
    """
    for condition in spec.split(","):
        parsed = _CONDITION.match(condition)
        if parsed is None:
            raise Invalid(f"{condition!r} is no condition on a version, such as >=3.13.")
        wanted = tuple(int(part) for part in parsed[2].split("."))
        if not _COMPARISONS[parsed[1]](version[: len(wanted)], wanted):
            return False
    return True


class Exclusions:
    """What the file says for one interpreter version.

    Args:
        path: The TOML file.
        version: `sys.version_info`'s numbers.
        kinds: The kinds that apply in this run; the others are only checked for staleness.
    """

    def __init__(self, path: Path, version: tuple[int, ...], kinds: Iterable[str] = tuple(KINDS)) -> None:
        self._kinds = frozenset(kinds)
        self._entries: list[Exclusion] = []
        for number, entry in enumerate(tomllib.loads(path.read_text())["exclude"], 1):
            try:
                self._entries += _parsed(entry, version)
            except Invalid as error:
                raise Invalid(f"{path}, entry {number}: {error}") from None

    def find(self, test: str) -> Exclusion | None:
        """The exclusion that applies to *test*; every entry that matches remembers it."""
        applying = None
        for entry in self._entries:
            if fnmatch.fnmatchcase(test, entry.pattern):
                if test not in entry.matched:
                    entry.matched.append(test)
                if applying is None and entry.kind in self._kinds:
                    applying = entry
        return applying

    def stale(self, modules: Iterable[str]) -> list[str]:
        """This version's patterns that match no test, among those for *modules*, all asked about before."""
        modules = set(modules)
        return [entry.pattern for entry in self._entries if not entry.matched and entry.module in modules]

    def modules(self) -> set[str]:
        return {entry.module for entry in self._entries}


def _parsed(entry: dict, version: tuple[int, ...]) -> list[Exclusion]:
    unknown = entry.keys() - {"tests", "versions", "kind", "area", "reason"}
    if unknown:
        raise Invalid(f"unknown key {min(unknown)!r}.")
    if entry.get("kind") not in KINDS:
        raise Invalid(f"kind must be one of {', '.join(KINDS)}.")
    if (entry["kind"] == "later") != (entry.get("area") in AREAS):
        raise Invalid(f"an entry of kind later, and no other, has an area, one of {', '.join(AREAS)}.")
    if not entry.get("reason", "").endswith("."):
        raise Invalid("the reason must be a sentence.")
    for pattern in entry.get("tests") or [""]:
        if not re.match(r"\w+\..*\w", pattern):
            raise Invalid(f"{pattern!r} is no test: write module.Class.method, with the module in full.")
    if not version_matches(entry.get("versions", ">=3"), version):
        return []
    return [Exclusion(pattern, entry["kind"], entry["reason"]) for pattern in entry["tests"]]
