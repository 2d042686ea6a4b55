"""That scripts/notices.py finds what is linked into the module, and refuses what it has no text for."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "notices.py"

spec = importlib.util.spec_from_file_location("notices", SCRIPT)
assert spec is not None
notices = importlib.util.module_from_spec(spec)
sys.modules["notices"] = notices
assert spec.loader is not None
spec.loader.exec_module(notices)


def package(name: str, kind: str = "lib", source: str | None = "registry") -> dict[str, Any]:
    return {"id": name, "name": name, "source": source, "targets": [{"kind": [kind]}]}


def node(name: str, **dependencies: str | None) -> dict[str, Any]:
    deps = [{"pkg": name, "dep_kinds": [{"kind": kind}]} for name, kind in dependencies.items()]
    return {"id": name, "deps": deps}


def test_what_is_linked_is_named_and_what_only_builds_is_not() -> None:
    metadata = {
        "packages": [
            package("ferrio-python", "cdylib", source=None),
            package("engine", source=None),
            package("linked"),
            package("through_the_engine"),
            package("macros", "proc-macro"),
            package("of_the_macros"),
            package("of_the_build"),
        ],
        "resolve": {
            "nodes": [
                node("ferrio-python", engine=None, linked=None, macros=None, of_the_build="build"),
                node("engine", through_the_engine=None),
                node("linked"),
                node("through_the_engine"),
                node("macros", of_the_macros=None),
                node("of_the_macros"),
                node("of_the_build"),
            ]
        },
    }
    assert [found["name"] for found in notices.linked(metadata)] == ["linked", "through_the_engine"]


def test_a_licence_without_a_text_is_refused(tmp_path: Path) -> None:
    described = {"name": "other", "version": "1", "license": "GPL-3.0", "manifest_path": str(tmp_path / "Cargo.toml")}
    with pytest.raises(SystemExit, match="other: no LICENSE-MIT"):
        notices.notice(described)
