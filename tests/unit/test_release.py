"""That scripts/release.py changes version and date, and refuses what is no step forward."""

import datetime
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "release.py"

spec = importlib.util.spec_from_file_location("release", SCRIPT)
assert spec is not None
release = importlib.util.module_from_spec(spec)
sys.modules["release"] = release
assert spec.loader is not None
spec.loader.exec_module(release)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Cargo.toml").write_text('[workspace]\n\n[workspace.package]\nversion = "0.2.0"\nedition = "2024"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased] - 0.3.0\n\n- New.\n\n## [0.2.0] - 2026-01-01\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("version", "sentences"),
    [
        ("0.3.0", []),
        ("0.2.1", []),
        ("0.1.9", ["0.1.9 is older than 0.2.0."]),
        ("0.2.0", ["CHANGELOG.md has a section 0.2.0 already."]),
        ("0.3", ["0.3 is no version of three numbers."]),
        ("v0.3.0", ["v0.3.0 is no version of three numbers."]),
        ("0.03.0", ["0.03.0 is no version of three numbers."]),
    ],
)
def test_only_a_step_forward_can_be_prepared(root: Path, version: str, sentences: list[str]) -> None:
    assert release.obstacles(root, version) == sentences


def test_a_log_without_a_section_for_changes_is_an_obstacle(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("# Changelog\n")
    assert release.obstacles(root, "0.3.0") == ["CHANGELOG.md has no section [Unreleased]."]


def test_version_and_date_are_written(root: Path) -> None:
    release.change(root, "0.3.0", datetime.date(2026, 2, 3))
    assert 'version = "0.3.0"\nedition' in (root / "Cargo.toml").read_text()
    expected = "# Changelog\n\n## [Unreleased]\n\n## [0.3.0] - 2026-02-03\n\n- New.\n\n## [0.2.0] - 2026-01-01\n"
    assert (root / "CHANGELOG.md").read_text() == expected


def test_the_version_of_this_checkout_can_be_found() -> None:
    assert release.IN_CARGO.search((release.ROOT / "Cargo.toml").read_text())
