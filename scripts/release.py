"""Prepare a release: the version in Cargo.toml and Cargo.lock, the date in CHANGELOG.md; then the checklist.

    python scripts/release.py 0.2.0            change the files, print what is left to do
    python scripts/release.py 0.2.0 --check    change nothing: could it be done?

Versions are semantic: what a program has to change for is a new major version (before 1.0, a new minor one), what it
may use is a new minor one, the rest is a patch. Publishing is done by the workflow `packages`, which the tag starts.
"""

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
IN_CARGO = re.compile(r'(?<=\[workspace\.package\]\nversion = ")[^"]+')
UNRELEASED = re.compile(r"^## \[Unreleased\].*$", re.MULTILINE)

CHECKLIST = """\
{version} is prepared. What is left, in this order:

  1. git diff: do the changes in CHANGELOG.md say everything that a user can notice?
  2. .ci/run, and make asan: both quiet?
  3. make bench on a quiet machine, then python benchmarks --publish docs/benchmarks, and make docs
  4. make wheels, make try-wheels, make try-sources
  5. cargo deny check advisories: known vulnerabilities of the dependencies?
  6. git commit --all --message "Release {version}" && git tag --sign v{version}
  7. git push --atomic origin main v{version}: the workflow builds, tries and publishes
  8. python -m pip install ferrio=={version} in an empty environment, then python -m ferrio doctor
"""


def obstacles(root: Path, version: str) -> list[str]:
    """Sentences that say why *version* cannot be prepared."""
    found = []
    if not VERSION.fullmatch(version):
        return [f"{version} is no version of three numbers."]
    present = IN_CARGO.search((root / "Cargo.toml").read_text())
    if present is None:
        return ["Cargo.toml has no version of the workspace."]
    numbers = [tuple(map(int, text.split("."))) for text in (version, present[0])]
    changes = (root / "CHANGELOG.md").read_text()
    if numbers[0] < numbers[1]:
        found.append(f"{version} is older than {present[0]}.")
    if not UNRELEASED.search(changes):
        found.append("CHANGELOG.md has no section [Unreleased].")
    if re.search(rf"^## \[{re.escape(version)}\]", changes, re.MULTILINE):
        found.append(f"CHANGELOG.md has a section {version} already.")
    return found


def change(root: Path, version: str, today: datetime.date) -> None:
    """Write the version and the date into the files of *root*, Cargo.lock excepted."""
    manifest, changes = root / "Cargo.toml", root / "CHANGELOG.md"
    manifest.write_text(IN_CARGO.sub(version, manifest.read_text(), count=1))
    heading = f"## [Unreleased]\n\n## [{version}] - {today.isoformat()}"
    changes.write_text(UNRELEASED.sub(heading, changes.read_text(), count=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Prepare a release.")
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    found = obstacles(ROOT, options.version)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    if status.stdout:
        found.append("There are changes that are not committed.")
    if found:
        sys.exit("\n".join(found))
    if options.check:
        print(f"{options.version} can be prepared.")
        return
    change(ROOT, options.version, datetime.datetime.now(datetime.UTC).date())
    # Of the lock file the versions of Ferrio's own crates change, nothing else.
    subprocess.run(["cargo", "update", "--quiet", "--workspace", "--offline"], cwd=ROOT, check=True)
    print(CHECKLIST.format(version=options.version))


if __name__ == "__main__":
    main()
