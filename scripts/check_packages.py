"""Look at finished packages: is everything in them that users and packagers expect, and nothing else?

    python scripts/check_packages.py dist

Of a wheel: its size, that it is stripped, its files, that its platform tag is one that auditwheel grants, and that its
modules name no folder of the machine that built it. Of a source distribution: what a build needs. Of both: metadata
(`twine check --strict`), licences, third-party notices.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

#: Of a wheel, as it is downloaded.
LIMIT_BYTES = 2_000_000

IN_DIST_INFO = (
    "licenses/LICENSE-MIT",
    "licenses/LICENSE-APACHE",
    "licenses/THIRD-PARTY-NOTICES.txt",
    "METADATA",
    "RECORD",
)
IN_WHEEL = ("ferrio/__init__.py", "ferrio/_ferrio.pyi", "ferrio/py.typed", "ferrio/asyncio/__init__.pyi")
IN_SOURCES = (
    "Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "PKG-INFO", "README.md", "THIRD-PARTY-NOTICES.txt",
    "crates/engine/src/lib.rs", "crates/python/build.rs", "crates/python/src/lib.rs", "pyproject.toml",
    "python/ferrio/__init__.py",
)  # fmt: skip
#: Only developers have a use for them.
NOT_IN_PACKAGES = re.compile(r"(^|/)(__pycache__|\.venvs|target|build)/|\.pyc$")


def wheel_faults(path: Path) -> list[str]:
    faults = []
    if path.stat().st_size > LIMIT_BYTES:
        faults.append(f"{path.stat().st_size:,} bytes, the limit is {LIMIT_BYTES:,}")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        folder = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        wanted = [*IN_WHEEL, *(f"{folder}/{name}" for name in IN_DIST_INFO)]
        faults += [f"{name} is missing" for name in wanted if name not in names]
        if not any(name.startswith(f"{folder}/sboms/") for name in names):
            faults.append("there is no bill of materials (sboms/)")
        modules = [name for name in names if name.endswith(".so")]
        if len(modules) != 1:
            faults.append(f"{len(modules)} extension modules in place of one")
        faults += [f"{name} is in it" for name in names if NOT_IN_PACKAGES.search(name)]
        for name in modules:
            module = archive.read(name)
            # The names of an ELF file's sections stand between zeros in it.
            faults += [f"{name} has {part}" for part in (".symtab", ".debug_info") if f"\0{part}\0".encode() in module]
        here = (str(Path.home()), str(Path.cwd()))
        faults += [
            f"{name} names the folder {folder} of this machine"
            # The bill of materials identifies Ferrio's crates by where they lay; publishing workflows build in /io.
            for name in names
            if "/sboms/" not in name
            for folder in here
            if re.search(rb"(?<![\w.])" + re.escape(folder.encode()) + rb"/", archive.read(name))
        ]
    return faults + tag_faults(path)


def tag_faults(path: Path) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", path], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        return [f"auditwheel: {(ran.stdout + ran.stderr).strip()}"]
    told = " ".join(ran.stdout.split())
    granted = re.search(r'following platform tag: "([^"]+)"', told)
    tags = path.stem.rpartition("-")[2].split(".")
    if granted is None or not tags[0].startswith(("manylinux", "musllinux")):
        return [f"the tag {'.'.join(tags)} is that of one machine; auditwheel says: {told}"]
    # A wheel may ask for more than it needs, never for less.
    floors = [
        tuple(map(int, tag.split("_")[1:3]))
        for tag in (granted[1], *tags)
        if re.match(r"(many|musl)linux_\d+_\d+", tag)
    ]
    return [] if all(floors[0] <= floor for floor in floors[1:]) else [f"tagged {'.'.join(tags)}, needs {granted[1]}"]


def sources_faults(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    faults = [f"{name} is missing" for name in IN_SOURCES if name not in names]
    return faults + [f"{name} is in it" for name in names if NOT_IN_PACKAGES.search(name) or name.endswith(".so")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Look at finished packages.")
    parser.add_argument("folder", type=Path, help="where they are")
    folder = parser.parse_args().folder
    wheels = sorted(folder.glob("*.whl"))
    sources = sorted(folder.glob("*.tar.gz"))
    if not wheels or len(sources) != 1:
        sys.exit(f"{folder}: {len(wheels)} wheels and {len(sources)} source distributions; wanted are some and one.")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *wheels, *sources], check=True)
    failed = False
    for path in (*wheels, *sources):
        faults = wheel_faults(path) if path.suffix == ".whl" else sources_faults(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {'; '.join(faults) or 'in order'}")
        failed |= bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
