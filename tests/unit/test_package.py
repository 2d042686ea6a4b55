"""What an installer and an importer see of the package: metadata, the modules that an import loads, refusals."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only

PACKAGE = Path(ferrio.__file__).parent

#: Modules beside asyncio's and Ferrio's own that the import may load. Each costs every program some of its start.
LOADED_MODULES = {"__future__", "copy", "dataclasses", "typing", "_typing"}
#: Where asyncio's C code is part of the interpreter, the interpreter's file is asked for it.
if "_asyncio" in sys.builtin_module_names:
    LOADED_MODULES |= {"sysconfig"}


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_metadata_names_authors_licence_and_links() -> None:
    metadata = importlib.metadata.metadata("ferrio")
    assert metadata["Author"]
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    links = dict(link.split(", ") for link in metadata.get_all("Project-URL") or [])
    assert links["Homepage"].startswith("https://")
    assert metadata["Requires-Python"].replace(" ", "") == ">=3.11,<3.16"


def test_the_licences_come_with_the_package() -> None:
    names = {path.name for path in importlib.metadata.files("ferrio") or () if "licenses" in path.parts}
    assert names == {"LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-NOTICES.txt"}


def test_an_import_loads_little_beside_asyncio() -> None:
    ran = python(
        """
        import asyncio, sys
        before = set(sys.modules)
        import ferrio
        print(*{name.partition(".")[0] for name in set(sys.modules) - before})
        """
    )
    assert ran.stderr == ""
    loaded = {name for name in ran.stdout.split() if not name.startswith("_sysconfigdata")}
    assert loaded - {"ferrio"} <= LOADED_MODULES


@pytest.mark.parametrize(
    ("pretence", "sentence"),
    [
        ("sys.version_info = (3, 10, 13)", "Ferrio supports CPython 3.11 - 3.15; this is cpython 3.10."),
        ("sys.version_info = (3, 16, 0)", "Ferrio supports CPython 3.11 - 3.15; this is cpython 3.16."),
        ("sys.implementation.name = 'pypy'", "Ferrio supports CPython 3.11 - 3.15; this is pypy 3.13."),
        ("sys.platform = 'darwin'", "Ferrio runs on Linux for now; this is darwin."),
        (
            "sys.abiflags = 't'",
            "Ferrio does not support free-threaded builds of CPython yet; this is one of 3.13.",
        ),
    ],
)
def test_an_unsupported_interpreter_is_told_so_in_one_sentence(pretence: str, sentence: str) -> None:
    ran = python(
        f"""
        import sys
        sys.version_info = (3, 13, 0)
        {pretence}
        try:
            import ferrio
        except ImportError as error:
            print(error)
        """
    )
    assert (ran.stdout.strip(), ran.stderr) == (sentence, "")


def test_a_copy_for_another_interpreter_says_so(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "ferrio", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    ran = python(
        """
        try:
            import ferrio
        except ImportError as error:
            print(error)
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert ran.stderr == ""
    assert re.fullmatch(
        rf"This copy of Ferrio was not built for {sys.implementation.cache_tag}; .*\.", ran.stdout.strip()
    )
