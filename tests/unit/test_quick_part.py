"""What ``make check`` runs after a change: ``tests/quick_part.py``."""

import os
import tomllib
from pathlib import Path

import ferrio
from quick_part import TABLE, newer, paths_after

PACKAGE = Path(ferrio.__file__).parent
TABLE_OF_TWO = {"after": {"always": ["always"], "modules": {"_a.py": ["a", "both"], "folder": ["b", "both"]}}}


def test_a_changed_module_has_its_tests_and_those_of_every_change() -> None:
    assert paths_after(TABLE_OF_TWO, {"_a.py"}) == ["always", "a", "both"]


def test_a_module_of_a_folder_has_the_folders_tests() -> None:
    assert paths_after(TABLE_OF_TWO, {"_a.py", "folder/_b.py"}) == ["always", "a", "both", "b"]


def test_a_module_without_an_entry_and_no_change_at_all_are_for_all_tests() -> None:
    assert paths_after(TABLE_OF_TWO, {"_a.py", "_c.py"}) is None
    assert paths_after(TABLE_OF_TWO, set()) is None


def test_every_module_but_the_packages_own_has_an_entry() -> None:
    table = tomllib.loads(TABLE.read_text())
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    assert {module for module in modules if paths_after(table, {module}) is None} == {"__init__.py"}


def test_a_link_is_as_new_as_what_it_leads_to(tmp_path: Path) -> None:
    source, link, stamp = (tmp_path / name for name in ("source", "link", "stamp"))
    source.touch()
    link.symlink_to(source)
    stamp.touch()
    os.utime(stamp, ns=(2, 2))
    os.utime(source, ns=(1, 1))
    assert list(newer([link], stamp)) == []
    os.utime(source, ns=(3, 3))
    assert list(newer([link], stamp)) == [link]
