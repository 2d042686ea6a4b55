"""THIRD-PARTY-NOTICES.txt: the licences of everything that is linked into the extension module.

    python scripts/notices.py            write the file
    python scripts/notices.py --check    only look: is it what Cargo.lock asks for?

Every wheel and source distribution carries the file. Crates that only take part in the build (procedural macros, build
scripts) leave nothing of theirs in the module and are not named. Of a crate that offers a choice of licences, the text
of MIT's is kept, which asks for no more than this notice.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "THIRD-PARTY-NOTICES.txt"

MODULE = "ferrio-python"
#: Whose dependencies are the same on every platform that wheels are made for.
PLATFORM = "x86_64-unknown-linux-gnu"

HEAD = """\
Third-party notices

Ferrio's extension module contains, in compiled form, the Rust packages named below and Rust's standard library.
Ferrio's own licences are in LICENSE-MIT and LICENSE-APACHE.
"""

#: Cargo's metadata does not know it.
STANDARD_LIBRARY = """\
The Rust standard library
https://www.rust-lang.org/
Licence: MIT OR Apache-2.0

Copyright (c) The Rust Project Contributors

Permission is hereby granted, free of charge, to any
person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the
Software without restriction, including without
limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of
the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice
shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF
ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A
PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT
SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION
OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR
IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""

RULE = "\n" + "-" * 80 + "\n\n"


def linked(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """The packages from elsewhere whose code is in the module, by name."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found: set[str] = set()
    to_do = [identity for identity, package in packages.items() if package["name"] == MODULE]
    while to_do:
        identity = to_do.pop()
        if identity in found or any("proc-macro" in target["kind"] for target in packages[identity]["targets"]):
            continue
        found.add(identity)
        for dependency in nodes[identity]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                to_do.append(dependency["pkg"])
    return sorted(
        (packages[identity] for identity in found if packages[identity]["source"]), key=lambda p: str(p["name"])
    )


def notice(package: dict[str, Any]) -> str:
    """What the file says of *package*.

    Raises:
        SystemExit: It brings no text of the MIT licence; somebody has to look at it.
    """
    folder = Path(package["manifest_path"]).parent
    text = folder / "LICENSE-MIT"
    if "MIT" not in package["license"] or not text.exists():
        sys.exit(f"{package['name']}: no LICENSE-MIT in {folder}; scripts/notices.py has to be taught its licence.")
    where = package["repository"] or package["homepage"]
    body = "\n".join(line.rstrip() for line in text.read_text().strip().splitlines())
    return f"{package['name']} {package['version']}\n{where}\nLicence: {package['license']}\n\n{body}\n"


def page() -> str:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", PLATFORM]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return RULE.join([HEAD.rstrip() + "\n", *map(notice, linked(metadata)), STANDARD_LIBRARY])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write THIRD-PARTY-NOTICES.txt.")
    parser.add_argument("--check", action="store_true", help="fail if the file is not up to date; write nothing")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"{PAGE.name} is not what Cargo.lock asks for: run python scripts/notices.py")


if __name__ == "__main__":
    main()
