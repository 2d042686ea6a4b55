"""Types: the package is clean under ``mypy --strict``, and the stub of the native module is true."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="the dependency group 'lint' is not installed")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONFIGURATION = ROOT / "pyproject.toml"


def checked(*arguments: str, folder: Path) -> None:
    """Run a module of mypy's and fail with its report."""
    ran = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={"MYPY_CACHE_DIR": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy_cache")


@pytest.mark.parametrize("version", ["3.11", "3.15"])
def test_the_package_is_clean_for_the_oldest_and_the_newest_python(cache: Path, version: str) -> None:
    checked("mypy", "--config-file", str(CONFIGURATION), "--python-version", version, folder=cache)


def test_the_public_names_have_the_types_that_users_expect(cache: Path) -> None:
    checked("mypy", "--strict", "--python-version", "3.11", str(HERE / "usage.py"), folder=cache)


def test_the_stub_of_the_native_module_is_true(cache: Path) -> None:
    allowed = str(HERE / "stubtest_allowlist.txt")
    checked("mypy.stubtest", "ferrio._ferrio", "--allowlist", allowed, folder=cache)
