"""The tables of docs/compatibility.md: every name of asyncio with the tests that prove it.

A row is a method of the loop, one of its arguments, a class, one of its methods or a function.

    python scripts/compatibility.py            write the tables into the page
    python scripts/compatibility.py --check    only look: are data, page, tests, asyncio and Ferrio of one mind?
    python scripts/compatibility.py --statuses correct the status of the loop's methods in the data first

The data are in docs/compatibility.toml, whose head explains them. The page is the same whichever interpreter writes it.
What is looked at:

1. Every public name of the running interpreter's asyncio has a row, and every row's name is there, for the versions
   that the row states: methods of the loop with their arguments, classes with their methods, functions.
2. Every row has a test that exists and that mentions the name, or says why it needs none. A module of CPython's suite
   is looked into where the interpreter has its suite with it.
3. The status of a row is what the built package shows, by the class that defines the method.
4. A difference that a row points to is a heading of the page.
5. The tables on the page are those of the data.
"""

import argparse
import ast
import asyncio
import importlib
import importlib.util
import inspect
import re
import sys
import tomllib
import types
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "compatibility.toml"
PAGE = ROOT / "docs" / "compatibility.md"
TESTS = ROOT / "tests"

BEGIN = "<!-- tables: written by scripts/compatibility.py from compatibility.toml -->"
END = "<!-- end of the tables -->"

#: What the data call the modules of CPython's suite.
SUITE = "cpython:"

STATUSES = {
    "native": "native",
    "python": "Ferrio's Python",
    "asyncio": "asyncio's own",
    "none": "not applicable",
}

Version = tuple[int, int]
RUNNING: Version = sys.version_info[:2]


@dataclass(frozen=True)
class Row:
    """One line of a table: a method, an argument, a class or a function.

    ``owner`` is ``loop``, the class of a method, or empty; an argument's ``parent`` is its method's row.
    """

    owner: str
    name: str
    group: str
    status: str
    tests: tuple[str, ...]
    since: Version | None = None
    until: Version | None = None
    why: str = ""
    differs: str = ""
    parent: "Row | None" = None
    implementation: str = ""
    children: list["Row"] = field(default_factory=list, compare=False)

    @property
    def title(self) -> str:
        if self.parent is not None:
            return f"{self.parent.title}({self.name})"
        return f"{self.owner}.{self.name}" if self.owner else self.name

    def is_in(self, version: Version) -> bool:
        return (self.since is None or self.since <= version) and (self.until is None or version <= self.until)

    @property
    def versions(self) -> str:
        if self.since and self.until:
            return f"{_dotted(self.since)} - {_dotted(self.until)}"
        if self.since:
            return f"{_dotted(self.since)}+"
        return f"up to {_dotted(self.until)}" if self.until else ""

    @property
    def word(self) -> str:
        """The name as a test writes it."""
        return self.name.lstrip("*").rpartition(".")[2]


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _version(text: str | None) -> Version | None:
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def read(data: dict[str, Any]) -> list[Row]:
    """The rows in the order of the data, each before its children."""
    rows = []

    def add(owner: str, name: str, entry: Any, inherited: dict[str, Any], parent: Row | None = None) -> Row:
        entry = entry if isinstance(entry, dict) else {"tests": entry}
        row = Row(
            owner=owner,
            name=name,
            group=entry.get("group", inherited.get("group", "")),
            status=entry.get("status", inherited.get("status", "")),
            tests=tuple(entry.get("tests", ())),
            since=_version(entry.get("since", inherited.get("since"))),
            until=_version(entry.get("until", inherited.get("until"))),
            why=entry.get("why", ""),
            differs=entry.get("differs", ""),
            parent=parent,
            implementation=entry.get("implementation", inherited.get("implementation", "")),
        )
        rows.append(row)
        return row

    for name, entry in data["loop"].items():
        method = add("loop", name, entry, {"implementation": "ferrio:Loop"})
        for argument, proof in entry.get("arguments", {}).items():
            method.children.append(add("loop", argument, proof, entry, method))
    for name, entry in data["classes"].items():
        owner = add("", name, entry, {})
        for method_name, proof in entry.get("methods", {}).items():
            owner.children.append(add(name, method_name, proof, entry))
    for name, entry in data["functions"].items():
        add("", name, entry, {})
    return rows


# --- is it true? --------------------------------------------------------------------------------------------------


def check(data: dict[str, Any], rows: list[Row]) -> Iterator[str]:
    """What is wrong, a sentence for each."""
    headings = set(re.findall(r"^#+ (.*)$", PAGE.read_text().partition(BEGIN)[0], re.MULTILINE))
    for row in rows:
        if row.status not in STATUSES:
            yield f"{row.title}: status {row.status!r} is none of {', '.join(STATUSES)}"
        if row.differs and row.differs not in headings:
            yield f"{row.title}: no heading {row.differs!r} in {PAGE.name}"
        if row.status == "none" and row.why:
            continue
        if not row.tests:
            yield f"{row.title}: no test proves it"
        for test in row.tests:
            yield from check_test(row, test)
    yield from check_names(rows)
    yield from check_statuses(rows)


def check_test(row: Row, test: str) -> Iterator[str]:
    if test.startswith(SUITE):
        if suite_is_there() and row.is_in(RUNNING):
            module = suite_module(test.removeprefix(SUITE))
            if module is None:
                yield f"{row.title}: CPython's suite has no {test.removeprefix(SUITE)}"
            elif not mentions(module, row):
                yield f"{row.title}: {test} does not mention it"
        return
    path, _, function = test.partition("::")
    file = TESTS / path
    if not file.is_file() or function not in tests_of(file):
        yield f"{row.title}: there is no test {test}"
    elif not mentions(file, row) and row.parent is None:
        yield f"{row.title}: {path} does not mention it"


@cache
def tests_of(file: Path) -> frozenset[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = (node.name for node in ast.parse(file.read_text()).body if isinstance(node, kinds))
    return frozenset(name for name in names if name.startswith("test_"))


@cache
def suite_is_there() -> bool:
    try:
        return importlib.util.find_spec("test.test_asyncio") is not None
    except ModuleNotFoundError:
        return False


@cache
def suite_module(module: str) -> Path | None:
    """The file of a module of CPython's asyncio suite."""
    package = importlib.util.find_spec("test.test_asyncio")
    assert package is not None
    for folder in package.submodule_search_locations or ():
        file = Path(folder) / f"{module}.py"
        if file.is_file():
            return file
    return None


@cache
def words_of(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", file.read_text()))


def mentions(file: Path, row: Row) -> bool:
    """Whether *file* has the name; for a class, one of its methods will do."""
    names = [row.word, *(child.word for child in row.children if not row.owner)]
    return not words_of(file).isdisjoint(names)


def check_names(rows: list[Row]) -> Iterator[str]:
    """Rows against the running interpreter's asyncio."""
    concrete = asyncio.SelectorEventLoop
    loop = {row.name: row for row in rows if row.owner == "loop" and row.parent is None and row.is_in(RUNNING)}
    yield from compare("loop", {name for name in dir(asyncio.AbstractEventLoop) if is_public(name)}, loop)
    for name, row in loop.items():
        if hasattr(concrete, name):
            expected = set(arguments_of(getattr(concrete, name)))
            given = {child.name: child for child in row.children if child.is_in(RUNNING)}
            if name == "create_task":
                # Some releases of one version name them, later ones hide them in **kwargs.
                expected |= {"name", "context", "**kwargs"} & given.keys()
                expected &= given.keys()
            yield from compare(f"the arguments of loop.{name}", expected, given)

    tops = {row.name: row for row in rows if not row.owner and row.is_in(RUNNING)}
    public = {name for name in asyncio.__all__ if is_public(name) and hasattr(asyncio, name)}
    public = {name for name in public if callable(getattr(asyncio, name)) and not is_loop(getattr(asyncio, name))}
    outside = {"subprocess.Process"}
    # Names that a version has without listing them: TaskGroup in 3.11, policies from 3.14 on.
    unlisted = {name for name in tops if name not in asyncio.__all__ and thing(name) is not None}
    yield from compare("asyncio", public | outside | unlisted, tops)
    for name, row in tops.items():
        found = thing(name)
        if inspect.isclass(found):
            methods = {child.name: child for child in row.children if child.is_in(RUNNING)}
            yield from compare(f"asyncio.{name}", set(own_names(found)), methods)


def compare(where: str, expected: set[str], given: dict[str, Row]) -> Iterator[str]:
    for name in sorted(expected - given.keys()):
        yield f"{where}: {name} has no row for Python {_dotted(RUNNING)}"
    for name in sorted(given.keys() - expected):
        yield f"{where}: Python {_dotted(RUNNING)} has no {name}"


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_loop(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, asyncio.AbstractEventLoop)


def thing(name: str) -> Any:
    """What *name* stands for in asyncio; None if there is no such thing."""
    if name == "subprocess.Process":
        return asyncio.subprocess.Process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(asyncio, name, None)


def own_names(owner: type) -> Iterator[str]:
    """Public methods and properties that *owner* has and that no public base of asyncio's has."""
    bases = [base for base in owner.__mro__[1:] if base.__module__.startswith(("asyncio", "_asyncio"))]
    inherited = {name for base in bases if is_public(base.__name__) for name in dir(base)}
    if issubclass(owner, BaseException):
        inherited |= set(dir(OSError)) | set(dir(EOFError))
    yield from (name for name in dir(owner) if is_public(name) and name not in inherited)


def arguments_of(method: Any) -> Iterator[str]:
    for parameter in inspect.signature(method).parameters.values():
        if parameter.name != "self":
            stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
            yield stars + parameter.name


def check_statuses(rows: list[Row]) -> Iterator[str]:
    """Statuses against the built package."""
    if importlib.util.find_spec("ferrio") is None:
        yield "ferrio is not built for this interpreter: statuses cannot be looked at"
        return
    for row in rows:
        if not row.implementation or row.parent is not None or row.status == "none" or not row.is_in(RUNNING):
            continue
        module, _, name = row.implementation.partition(":")
        owner = getattr(importlib.import_module(module), name)
        if not row.owner:
            # A class has the status that most of its methods have; theirs are looked at.
            continue
        definer = next((base for base in owner.__mro__ if row.name in vars(base)), None)
        if definer is None:
            yield f"{row.title}: {row.implementation} has no such method"
        elif (shown := status_of(definer, row.name)) != row.status:
            yield f'{row.title}: the data say status = "{row.status}", but {definer!r} has it: "{shown}"'


def status_of(definer: type, name: str) -> str:
    """The status of the method or attribute *name*, which *definer* has in its dictionary."""
    if definer.__module__.partition(".")[0] not in {"ferrio", "_ferrio"}:
        return "asyncio"
    written_in_python = (types.FunctionType, property, classmethod, staticmethod)
    return "python" if isinstance(vars(definer)[name], written_in_python) else "native"


def with_true_statuses(text: str, rows: list[Row]) -> str:
    """The data with the status of each method of the loop as the built package shows it."""
    loop = importlib.import_module("ferrio").Loop
    for row in rows:
        if row.owner == "loop" and row.parent is None and row.status != "none" and hasattr(loop, row.name):
            definer = next(base for base in loop.__mro__ if row.name in vars(base))
            status = f'status = "{status_of(definer, row.name)}"'
            section = rf"(^\[loop\.{row.name}\]\n(?:[a-z]+ = .*\n)*?)status = .*$"
            text = re.sub(section, lambda found, status=status: found[1] + status, text, flags=re.MULTILINE)
    return text


# --- the page -----------------------------------------------------------------------------------------------------


def tables(data: dict[str, Any], rows: list[Row]) -> str:
    shown = [row for row in rows if row.parent is None and not (row.owner and row.owner != "loop")]
    lines = []
    for title in data["groups"]:
        lines += [f"### {title}", "", "| name | on Ferrio | shown by |", "| --- | --- | --- |"]
        for row in shown:
            if row.group == title:
                lines.append(line(row, prefix="loop." if row.owner else ""))
                lines += [line(child, prefix="&nbsp;&nbsp;") for child in row.children]
        lines.append("")
    return "\n".join(lines)


def line(row: Row, prefix: str) -> str:
    name = f"{prefix}`{row.name}`" if prefix.startswith("&") else f"`{prefix}{row.name}`"
    versions = f" ({row.versions})" if row.versions else ""
    status = STATUSES[row.status]
    if row.parent is not None:
        status = ""
    if row.differs:
        status += f", [differs](#{row.differs.lower().replace(' ', '-')})"
    shown = "; ".join(link(test) for test in row.tests) or row.why
    return f"| {name}{versions} | {status} | {shown} |"


def link(test: str) -> str:
    if test.startswith(SUITE):
        return f"CPython's `{test.removeprefix(SUITE)}`"
    path, _, function = test.partition("::")
    sentence = function.removeprefix("test_").replace("_", " ")
    return f"[{path.removesuffix('.py').replace('test_', '')}](../tests/{path}): {sentence}"


def with_tables(page: str, text: str) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def report(errors: Iterable[str]) -> int:
    count = 0
    for count, error in enumerate(errors, 1):  # noqa: B007  # the last number is wanted after the loop
        print(error, file=sys.stderr)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; the status is 1 if anything is wrong")
    parser.add_argument("--statuses", action="store_true", help="correct the status of the loop's methods in the data")
    options = parser.parse_args()
    if options.statuses:
        DATA.write_text(with_true_statuses(DATA.read_text(), read(tomllib.loads(DATA.read_text()))))
    data = tomllib.loads(DATA.read_text())
    rows = read(data)
    if report(check(data, rows)):
        return 1
    wanted = with_tables(PAGE.read_text(), tables(data, rows))
    if wanted != PAGE.read_text():
        if options.check:
            print(f"{PAGE.name} is not what {DATA.name} says: run scripts/compatibility.py", file=sys.stderr)
            return 1
        PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
