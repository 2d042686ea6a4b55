"""Which module may import from which: the storeys of docs/layers.toml against the imports in the code.

    python scripts/layers.py            fail on an import that goes up or sideways
    python scripts/layers.py --arrows   show which room imports from which, and how often

A *room* is a file or a folder of the table. A room imports from lower storeys only: not from a higher one, and not from
another room of its own. So there are no circles between rooms. What the table lists under ``exceptions`` is let pass;
an exception that no import needs any more is an error, so the list can only become shorter.

Rust: paths that begin with ``crate``, ``super``, ``self`` or the name of a module in scope, in ``use`` and elsewhere.
Python: ``import`` and ``from`` wherever they stand, but for those under ``if TYPE_CHECKING:``, which nothing runs.
Comments and strings are not looked at.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = "docs/layers.toml"

#: A module's name in its tree: ``("task", "step")``; the root is empty.
Name = tuple[str, ...]

ADVICE = f"""
A room imports from the storeys below its own ({TABLE}). What to do with another import: move what both rooms need into
a room below them; hand it over as an argument; or let the upper room give the lower one a function to call."""


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    source: Name
    target: Name


# --- Rust ---------------------------------------------------------------------------------------------------------

_NOT_CODE = re.compile(
    r"""
    //[^\n]*
    | /\*.*?\*/
    | \b(?:br|cr|r)(?P<hashes>\#*)".*?"(?P=hashes)
    | \b[bc]?"(?:\\.|[^"\\])*"
    | "(?:\\.|[^"\\])*"
    | '(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'
    """,
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(r"[A-Za-z_]\w*|::|\S")
_WORD = re.compile(r"[A-Za-z_]\w*")


def rust_modules(root: Path) -> dict[Name, Path]:
    modules = {}
    for file in sorted(root.rglob("*.rs")):
        parts = file.relative_to(root).with_suffix("").parts
        modules[() if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts] = file
    return modules


def without_comments_and_strings(text: str) -> str:
    return _NOT_CODE.sub(lambda found: " " + "\n" * found[0].count("\n"), text)


class RustFile:
    """The paths of one file. A path that leads to something in a module is an import of that module."""

    def __init__(self, file: Path, name: Name, modules: dict[Name, Path]) -> None:
        self._file = file
        self._name = name
        self._modules = modules
        self._tokens: list[tuple[str, int]] = []
        for number, line in enumerate(without_comments_and_strings(file.read_text()).split("\n"), 1):
            self._tokens += [(token, number) for token in _TOKEN.findall(line)]

    def imports(self) -> Iterator[Import]:
        #: Modules written within the file, and how deep in braces each was opened.
        within: list[tuple[str, int]] = []
        #: Modules that have a name in this file: its own, and those that it imports.
        scope = {name[-1]: name for name in self._modules if name and name[:-1] == self._name}
        depth = at = 0
        while at < len(self._tokens):
            token = self._at(at)
            if token == "mod" and _WORD.match(self._at(at + 1)) and self._at(at + 2) == "{":
                within.append((self._at(at + 1), depth))
                depth += 1
                at += 3
                continue
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if within and within[-1][1] == depth:
                    within.pop()
            here = (*self._name, *(name for name, _ in within))
            start = self._start(at, here, scope)
            if start is None:
                at += 1
                continue
            line = self._tokens[at][1]
            is_use = self._at(at - 1) == "use"
            at, ends = self._path(at + 1, start)
            for end, alias in ends:
                target = self._module_of(end)
                if is_use and target == end and end:
                    scope[alias or end[-1]] = end
                yield Import(self._file, line, self._name, target)

    def _at(self, index: int) -> str:
        return self._tokens[index][0] if 0 <= index < len(self._tokens) else ""

    def _start(self, at: int, here: Name, scope: dict[str, Name]) -> Name | None:
        """Where a path leads that begins at this token; None when none does."""
        token = self._at(at)
        if self._at(at + 1) != "::" or self._at(at - 1) in ("::", "."):
            return None
        if self._at(at - 1) == "in" and self._at(at - 3) == "pub":
            return None
        match token:
            case "crate":
                return ()
            case "self":
                return here
            case "super":
                return here[:-1]
            case _:
                return scope.get(token)

    def _path(self, at: int, before: Name) -> tuple[int, list[tuple[Name, str]]]:
        """The ends of the path whose next token is at this index, each with the name that it gets by ``as``."""
        path = before
        while self._at(at) == "::":
            following = self._at(at + 1)
            if following == "{":
                return self._tree(at + 2, path)
            if following == "super":
                path = path[:-1]
            elif following == "self":
                pass
            elif _WORD.match(following):
                path = (*path, following)
            else:
                # A glob, or the arguments of a generic.
                return at + 1, [(path, "")]
            at += 2
        if self._at(at) == "as":
            return at + 2, [(path, self._at(at + 1))]
        return at, [(path, "")]

    def _tree(self, at: int, before: Name) -> tuple[int, list[tuple[Name, str]]]:
        """The ends of ``a, b::c, d::{e}}``."""
        ends = []
        while self._at(at) not in ("}", ""):
            token = self._at(at)
            if token in (",", "*"):
                ends += [(before, "")] if token == "*" else []
                at += 1
                continue
            at, found = self._path(at + 1, before if token == "self" else (*before, token))
            ends += found
        return at + 1, ends

    def _module_of(self, path: Name) -> Name:
        while path and path not in self._modules:
            path = path[:-1]
        return path


def rust_imports(modules: dict[Name, Path]) -> Iterator[Import]:
    for name, file in modules.items():
        yield from RustFile(file, name, modules).imports()


# --- Python -------------------------------------------------------------------------------------------------------


def python_modules(root: Path) -> dict[Name, Path]:
    """A compiled module is known by its stubs."""
    modules = {}
    for file in sorted([*root.rglob("*.py"), *root.rglob("*.pyi")]):
        parts = file.relative_to(root).with_suffix("").parts
        modules[parts[:-1] if parts[-1] == "__init__" else parts] = file
    return modules


def python_imports(modules: dict[Name, Path], package: str) -> Iterator[Import]:
    for name, file in modules.items():
        if file.suffix == ".pyi":
            continue
        is_package = file.name == "__init__.py"
        for node in _run_nodes(ast.parse(file.read_text())):
            for path in _paths(node, name if is_package else name[:-1], package):
                while path not in modules:
                    path = path[:-1]
                yield Import(file, node.lineno, name, path)


def _run_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _run_nodes(ast.Module([other], []))
        else:
            yield from _run_nodes(child)


def _paths(node: ast.Import | ast.ImportFrom, around: Name, package: str) -> Iterator[Name]:
    """What is imported, as names within the package; nothing for other packages."""
    if isinstance(node, ast.Import):
        names = [tuple(alias.name.split(".")) for alias in node.names]
        yield from (name[1:] for name in names if name[0] == package)
        return
    module = tuple(node.module.split(".")) if node.module else ()
    if node.level == 0:
        if module[:1] != (package,):
            return
        base: Name = module[1:]
    else:
        base = (*around[: len(around) - node.level + 1], *module)
    yield from ((*base, alias.name) for alias in node.names)


# --- the table ----------------------------------------------------------------------------------------------------


class House:
    """One tree of modules and its part of the table."""

    def __init__(self, title: str, part: dict[str, Any], root: Path) -> None:
        self.title = title
        self._root = root / part["root"]
        self._is_rust = part["language"] == "rust"
        self._exceptions: dict[str, str] = part.get("exceptions", {})
        self._storeys = {room: number for number, storey in enumerate(part["storeys"]) for room in storey}
        self._listed = [room for storey in part["storeys"] for room in storey]
        self._modules = rust_modules(self._root) if self._is_rust else python_modules(self._root)

    def arrows(self) -> list[tuple[str, str, Import]]:
        found = rust_imports(self._modules) if self._is_rust else python_imports(self._modules, self._root.name)
        return [(self.room(each.source), self.room(each.target), each) for each in found if self._leaves(each)]

    def _leaves(self, each: Import) -> bool:
        return self.room(each.source) != self.room(each.target)

    def room(self, name: Name) -> str:
        """The room of a module: the longest of the table's names that it lies in."""
        if not name:
            return "lib" if self._is_rust else "__init__"
        path = "/".join(name)
        while path and path not in self._storeys:
            path = path.rpartition("/")[0]
        return path or name[0]

    def errors(self) -> Iterator[str]:
        table = f"{TABLE}, {self.title}"
        rooms = {self.room(name): file for name, file in reversed(self._modules.items())}
        for room, count in Counter(self._listed).items():
            if count > 1:
                yield f"{table}: {room} is listed {count} times"
            if room not in rooms:
                yield f"{table}: there is no module {room} in {self._root.name}: take it out"
        unlisted = {room for room in rooms if room not in self._storeys}
        for room in sorted(unlisted):
            yield f"{rooms[room]}: {room} has no place in the house: list it in {table}"
        used = set()
        for source, target, each in self.arrows():
            if {source, target} & unlisted or self._storeys[target] < self._storeys[source]:
                continue
            arrow = f"{source} -> {target}"
            if arrow in self._exceptions:
                used.add(arrow)
                continue
            way = "up" if self._storeys[target] > self._storeys[source] else "sideways"
            what = ("::" if self._is_rust else ".").join(each.target) or target
            yield f"{each.file}:{each.line}: {arrow} goes {way}, by an import from {what}"
        for arrow in sorted(self._exceptions.keys() - used):
            yield f"{table}: no import needs the exception {arrow!r} any more: take it out"
        yield from self._circles()

    def _circles(self) -> Iterator[str]:
        """Circles among Python's modules, those within a room as well."""
        if self._is_rust:
            return
        following: dict[Name, set[Name]] = {name: set() for name in self._modules}
        for each in python_imports(self._modules, self._root.name):
            arrow = f"{self.room(each.source)} -> {self.room(each.target)}"
            if each.target != each.source and arrow not in self._exceptions:
                following[each.source].add(each.target)
        for circle in circles(following):
            names = " -> ".join(".".join(name) or "__init__" for name in circle)
            yield f"{self._root}: {names} is a circle"


def circles(following: dict[Name, set[Name]]) -> Iterator[list[Name]]:
    """A circle through each module that is the first of one, by name."""
    for first in sorted(following):
        ways = [[first]]
        seen = {first}
        while ways:
            way = ways.pop(0)
            if first in following[way[-1]]:
                yield [*way, first]
                break
            for name in sorted(following[way[-1]] - seen):
                if name > first:
                    seen.add(name)
                    ways.append([*way, name])


def houses(root: Path) -> Iterable[House]:
    table = tomllib.loads((root / TABLE).read_text())
    return [House(title, part, root) for title, part in table.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="a checkout (default: this one)")
    parser.add_argument("--arrows", action="store_true", help="show which room imports from which")
    options = parser.parse_args()
    errors: list[str] = []
    for house in houses(options.root):
        if options.arrows:
            print(house.title)
            for (source, target), count in sorted(Counter(arrow[:2] for arrow in house.arrows()).items()):
                print(f"  {source} -> {target}  {count}")
            continue
        errors += house.errors()
    for error in dict.fromkeys(errors):
        print(error.replace(f"{options.root}/", ""), file=sys.stderr)
    if errors:
        print(ADVICE, file=sys.stderr)
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
