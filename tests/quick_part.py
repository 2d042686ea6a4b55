"""The quick part of the tests by ``quick.toml``, for ``pytest --quick``; what has changed decides how much of it runs.

``--since STAMP`` asks which modules of the package in Python are newer than the file STAMP. If nothing else of Ferrio
is, only the tests run that ``quick.toml`` names for those modules. Without a stamp, after a change of the native
module, and for a module that has no entry, the quick part is whole.
"""

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).parent / "quick.toml"


def newer(paths: Iterable[Path], stamp: Path) -> Iterator[Path]:
    """Those of ``paths`` that have changed since ``stamp`` was written, a link for what it leads to."""
    passed = stamp.stat().st_mtime_ns
    return (path for path in paths if path.stat().st_mtime_ns > passed)


def paths_after(table: dict[str, Any], modules: set[str]) -> list[str] | None:
    """The paths of the tests for changes of ``modules``; ``None`` for the whole of the quick part."""
    if not modules:
        return None
    of_modules: dict[str, list[str]] = table["after"]["modules"]
    chosen = list(table["after"]["always"])
    for module in sorted(modules):
        # A folder of modules may have one entry.
        tests = of_modules.get(module) or of_modules.get(module.partition("/")[0])
        if tests is None:
            return None
        chosen += tests
    return list(dict.fromkeys(chosen))


class QuickPart:
    """Collects the paths of ``quick.toml`` without what that leaves out, and names this at the end."""

    def __init__(self, config: pytest.Config, package: Path, stamp: Path | None) -> None:
        self._root = config.rootpath
        table = tomllib.loads(TABLE.read_text())
        self._left_out: list[str] = table["left_out"]
        of_modules: dict[str, list[str]] = table["after"]["modules"]
        named = {path for paths in (table["after"]["always"], *of_modules.values()) for path in paths}
        sources = {f"python/ferrio/{module}" for module in of_modules}
        files = {name.partition("::")[0] for name in [*self._left_out, *named, *sources]}
        if missing := sorted(name for name in files if not (self._root / name).exists()):
            raise pytest.UsageError(f"{TABLE.name} names what there is not: {', '.join(missing)}")
        self._changed: set[str] = set()
        if stamp is not None and stamp.exists():
            self._changed = self._changed_modules(package, stamp)
        tests = paths_after(table, self._changed)
        self._is_whole = tests is None
        # Paths on the command line are somebody's own choice.
        self._chooses = config.args_source is not config.ArgsSource.ARGS
        if self._chooses:
            config.args = [str(self._root / path) for path in tests or table["paths"]]
        # What is named for a module runs after its changes, though it is too long for the quick part.
        left_out = [name for name in self._left_out if name not in (tests or ())]
        self._files = {self._root / name for name in left_out if "::" not in name}
        self._functions = {name for name in left_out if "::" in name}

    @staticmethod
    def _changed_modules(package: Path, stamp: Path) -> set[str]:
        if any(newer(package.glob("_ferrio*.so"), stamp)):
            return set()
        # A folder with links to the sources has none within what they lead to.
        sources = (path for entry in package.iterdir() for path in ([entry] if entry.is_file() else entry.rglob("*")))
        return {str(path.relative_to(package)) for path in newer(sources, stamp) if path.suffix == ".py"}

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if collection_path in self._files else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if item.nodeid.partition("[")[0] in self._functions]
        missing = self._functions - {item.nodeid.partition("[")[0] for item in left_out}
        if missing and self._chooses and self._is_whole:
            raise pytest.UsageError(f"{TABLE.name} leaves out what there is not: {', '.join(sorted(missing))}")
        items[:] = [item for item in items if item.nodeid.partition("[")[0] not in self._functions]
        config.hook.pytest_deselected(items=left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        table = TABLE.relative_to(Path.cwd())
        if self._is_whole:
            names = ", ".join(name.removeprefix("tests/") for name in self._left_out)
            terminalreporter.line(f"Left out by {table}, beside what is not in its paths: {names}.")
        else:
            changed = ", ".join(sorted(self._changed))
            terminalreporter.line(
                f"Only what {table} names for {changed}; the whole of the quick part: make check WHOLE=1."
            )
