"""The run as a table, as a list of what went wrong, and as JSON."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from outcome import ALL, BAD, EXCLUDED, FLAKY, PASSED, SKIPPED, ModuleOutcome

COLUMNS = (*ALL, "on loop", "seconds")


@dataclass
class Report:
    """A whole run.

    Attributes:
        tag: The interpreter, as in the name of its virtual environment.
        loop: Where the loop under test comes from.
        stale: Exclusions of this version that match no test.
    """

    tag: str
    loop: str
    package: str
    modules: list[ModuleOutcome]
    stale: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, *outcomes: str) -> int:
        return sum(module.count(*outcomes) for module in self.modules)

    def succeeded(self) -> bool:
        return self.count(*BAD) == 0

    def tests(self, *outcomes: str):
        for module in self.modules:
            for name, test in module.tests.items():
                if test.outcome in outcomes:
                    yield name, test

    def passing_exclusions(self) -> list[str]:
        """Excluded tests that ran and passed: their exclusions have to go."""
        return [name for name, test in self.tests(EXCLUDED) if test.when_run == PASSED]

    def totals(self) -> dict[str, int]:
        return {name: self.count(name) for name in ALL} | {"on loop": sum(m.on_loop() for m in self.modules)}

    def write_json(self, path: Path) -> None:
        content = {
            "tag": self.tag,
            "version": sys.version,
            "loop": self.loop,
            "package": self.package,
            "seconds": round(self.seconds, 1),
            "totals": self.totals(),
            "stale": self.stale,
            "passing_exclusions": self.passing_exclusions(),
            "modules": {
                module.module: {
                    "counts": module.counts(),
                    "on_loop": module.on_loop(),
                    "seconds": round(module.seconds, 1),
                    "tests": {name: _without_empty(asdict(test)) for name, test in module.tests.items()},
                }
                for module in self.modules
            },
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")

    def print(self, tracebacks: bool) -> None:
        self._print_failures(tracebacks)
        self._print_table()
        for name, test in self.tests(FLAKY):
            print(f"flaky    {name}: {_last_line(test.detail)}")
        for pattern in self.stale:
            print(f"stale    {pattern}: the exclusion matches no test of this version")
        for name in self.passing_exclusions():
            print(f"passes   {name}: its exclusion must be removed")
        print(f"{self.totals()['on loop']} tests made a loop of {self.loop}")
        print(f"{self.count(PASSED, FLAKY)} passed, {self.count(*BAD)} failed, {self.count(SKIPPED)} skipped")

    def _print_failures(self, tracebacks: bool) -> None:
        for name, test in self.tests(*BAD):
            if tracebacks:
                print(f"\n{test.outcome}: {name}\n{test.detail.rstrip()}")
                if test.output.strip():
                    print(f"--- output\n{test.output.rstrip()}")
            else:
                print(f"{test.outcome:<8} {name}: {_last_line(test.detail)}")

    def _print_table(self) -> None:
        names = [module.module for module in self.modules]
        width = max(map(len, [*names, "total"]), default=5)
        print(f"\n{'':<{width}}" + "".join(f"{column:>10}" for column in COLUMNS))
        for module in sorted(self.modules, key=lambda module: module.module):
            cells = [*module.counts().values(), module.on_loop(), f"{module.seconds:.1f}"]
            print(f"{module.module:<{width}}" + "".join(f"{cell or '-':>10}" for cell in cells))
        cells = [*self.totals().values(), f"{self.seconds:.1f}"]
        print(f"{'total':<{width}}" + "".join(f"{cell or '-':>10}" for cell in cells) + "\n")


def progress_line(module: ModuleOutcome) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in module.counts().items() if count)
    return f"{module.module:<26} {counts or 'no tests'} ({module.seconds:.1f} s)"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""


def _without_empty(test: dict) -> dict:
    return {key: value for key, value in test.items() if value not in ("", None)}
