"""That scripts/layers.py finds imports that go up or sideways, and takes no comment or string for one."""

import importlib.util
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "layers.py"

spec = importlib.util.spec_from_file_location("layers", SCRIPT)
assert spec is not None
layers = importlib.util.module_from_spec(spec)
sys.modules["layers"] = layers
assert spec.loader is not None
spec.loader.exec_module(layers)

Errors = Callable[..., list[str]]


@pytest.fixture
def errors_of_rust(tmp_path: Path) -> Errors:
    """What the check says of a crate's files: the rooms low, middle and its neighbour beside, high."""

    def errors(exceptions: dict[str, str] | None = None, **files: str) -> list[str]:
        root = tmp_path / "src"
        for name in ("low.rs", "middle/mod.rs", "middle/part.rs", "beside.rs", "high.rs", "lib.rs"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(textwrap.dedent(files.get(name.removesuffix(".rs").replace("/", "_"), "")))
        part = {"language": "rust", "root": "src", "storeys": [["low"], ["middle", "beside"], ["high"], ["lib"]]}
        found = layers.House("crate", part | {"exceptions": exceptions or {}}, tmp_path).errors()
        return list(dict.fromkeys(error.replace(f"{root}/", "") for error in found))

    return errors


@pytest.fixture
def errors_of_python(tmp_path: Path) -> Errors:
    """The same of a package: low and beside, high, and the package itself."""

    def errors(exceptions: dict[str, str] | None = None, **files: str) -> list[str]:
        root = tmp_path / "package"
        root.mkdir()
        for name in ("low", "beside", "high", "__init__"):
            (root / f"{name}.py").write_text(textwrap.dedent(files.get(name, "")))
        part = {"language": "python", "root": "package", "storeys": [["low", "beside"], ["high"], ["__init__"]]}
        found = layers.House("package", part | {"exceptions": exceptions or {}}, tmp_path).errors()
        return list(dict.fromkeys(error.replace(f"{root}/", "") for error in found))

    return errors


def test_the_house_stands() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("title", ["engine", "binding", "package"])
def test_an_arrow_that_goes_up_fails(title: str, tmp_path: Path) -> None:
    table = tomllib.loads((ROOT / layers.TABLE).read_text())
    for part in table.values():
        shutil.copytree(ROOT / part["root"], tmp_path / part["root"], ignore=shutil.ignore_patterns("*.so"))
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / layers.TABLE, tmp_path / layers.TABLE)
    (house,) = (house for house in layers.houses(tmp_path) if house.title == title)
    is_rust = table[title]["language"] == "rust"
    # The ground floor of the package is compiled.
    low, high = table[title]["storeys"][0 if is_rust else 1][0], table[title]["storeys"][-2][0]
    root = tmp_path / table[title]["root"]
    file = next(file for file in sorted(root.rglob("*.*")) if house.room(layers_name(file, root)) == low)
    line = f"use crate::{high.replace('/', '::')}::Something;" if is_rust else f"from ferrio.{high} import something"
    file.write_text(f"{file.read_text()}\n{line}\n")

    done = subprocess.run([sys.executable, SCRIPT, "--root", tmp_path], capture_output=True, text=True)

    where = f"{file.relative_to(tmp_path)}:{len(file.read_text().splitlines())}"
    assert done.returncode == 1
    assert f"{where}: {low} -> {high} goes up" in done.stderr
    assert "What to do" in done.stderr


def layers_name(file: Path, root: Path) -> tuple[str, ...]:
    parts = file.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "__init__", "lib") else parts


@pytest.mark.parametrize(
    "text",
    [
        "use crate::high::Thing;",
        "pub(crate) use crate::high::{Thing, Other as Another};",
        "use super::super::high;",
        "use crate::{low::Thing, high::Other};",
        "use crate::{low, high::{self, Other}};",
        "use crate::high::*;",
        "fn f() -> crate::high::Thing { todo!() }",
        "fn f() { let c = 'a'; let d = '\"'; crate::high::f::<'static>(c, d); }",
        "mod tests { use super::super::super::high::Thing; }",
        "macro_rules! m { () => { $crate::high::f() } }",
        'const TEXT: &str = r#"a " text"#; use crate::high::Thing;',
    ],
)
def test_every_way_up_is_seen(text: str, errors_of_rust: Errors) -> None:
    assert errors_of_rust(middle_part=text) == ["middle/part.rs:1: middle -> high goes up, by an import from high"]


@pytest.mark.parametrize(
    "text",
    [
        "// use crate::high::Thing;",
        "/// See [`crate::high`].",
        "/* use crate::high::Thing;\n*/",
        'const TEXT: &str = "crate::high::Thing";',
        'const TEXT: &[u8] = br##"crate::high::"# Thing"##;',
        "use crate::low::Thing; use super::Part; use self::inner::Thing;",
        "pub(in crate::middle) fn f<'a>(x: &'a str) -> &'a str { x }",
        "use other::high::Thing;",
    ],
)
def test_what_is_no_way_up_is_not_told_of(text: str, errors_of_rust: Errors) -> None:
    assert errors_of_rust(middle_part=text) == []


def test_a_neighbour_is_not_imported_from(errors_of_rust: Errors) -> None:
    assert errors_of_rust(beside="\n\nuse crate::middle::part::Thing;") == [
        "beside.rs:3: beside -> middle goes sideways, by an import from middle::part"
    ]


def test_a_module_in_scope_leads_to_its_room(errors_of_rust: Errors) -> None:
    found = errors_of_rust({"beside -> middle": "a reason"}, beside="use crate::middle as m;\nfn f() { m::part::f() }")
    assert found == []
    assert len(errors_of_rust(beside="use crate::middle as m;\nfn f() { m::part::f() }")) == 2


def test_an_exception_that_nothing_needs_is_an_error(errors_of_rust: Errors) -> None:
    (error,) = errors_of_rust({"low -> high": "a reason"})
    assert "no import needs the exception 'low -> high' any more" in error


def test_a_room_without_a_place_is_an_error(errors_of_rust: Errors, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.rs").write_text("")
    (error,) = errors_of_rust()
    assert "new has no place" in error


@pytest.mark.parametrize(
    "text",
    [
        "from .high import thing",
        "from . import high",
        "import package.high",
        "from package.high import thing",
        "def f():\n  from . import high",
    ],
)
def test_every_import_of_python_is_seen(text: str, errors_of_python: Errors) -> None:
    (error,) = errors_of_python(low=text)
    assert "low -> high goes up" in error


def test_an_import_for_types_alone_is_none(errors_of_python: Errors) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from .high import Thing\nimport high.other\n"
    assert errors_of_python(low=text, high="from .low import Thing") == []


def test_a_circle_is_named(errors_of_python: Errors) -> None:
    errors = errors_of_python(low="from .high import a", high="from .beside import b", beside="from .low import c")
    assert any("beside -> low -> high -> beside is a circle" in error for error in errors)
