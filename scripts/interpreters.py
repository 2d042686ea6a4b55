"""Print the interpreters at hand that Ferrio supports, one a line, one for each version: what `make wheels` builds for.

They are looked for under the name `python3.N` in the search path, and among pyenv's.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from interpreter_tag import NEWEST, OLDEST

TAG = Path(__file__).with_name("interpreter_tag.py")


def candidates(version: str) -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")), reverse=True)
    if found := shutil.which(f"python{version}"):
        yield found


def fits(interpreter: str, tag: str) -> bool:
    """Whether it runs, and is that one: pyenv's shims are there for versions that are not."""
    answer = subprocess.run([interpreter, TAG], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == tag


def main() -> None:
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        version = f"3.{minor}"
        if found := next((path for path in candidates(version) if fits(path, f"cpython-{version}")), None):
            print(found)


if __name__ == "__main__":
    main()
