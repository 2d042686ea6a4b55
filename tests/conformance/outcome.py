"""What became of each test, and the counts of it."""

import collections
from dataclasses import dataclass, field

PASSED, FAILED, HUNG, CRASHED = "passed", "failed", "hung", "crashed"
FLAKY, SKIPPED, EXCLUDED = "flaky", "skipped", "excluded"

ALL = (PASSED, FAILED, HUNG, CRASHED, FLAKY, SKIPPED, EXCLUDED)
BAD = (FAILED, HUNG, CRASHED)


@dataclass
class Outcome:
    """One test's outcome.

    Attributes:
        outcome: One of `ALL`.
        seconds: From the start of `setUp` to the end of the cleanups.
        loops: Instances of the loop under test made meanwhile.
        detail: Traceback or reason.
        output: What the test wrote, for tests that went wrong.
        when_run: For an excluded test that ran nevertheless, what came out; else None.
    """

    outcome: str
    seconds: float = 0.0
    loops: int = 0
    detail: str = ""
    output: str = ""
    when_run: str | None = None


@dataclass
class ModuleOutcome:
    """The tests of one module, in the order in which they were told."""

    module: str
    tests: dict[str, Outcome] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, *outcomes: str) -> int:
        return sum(test.outcome in outcomes for test in self.tests.values())

    def counts(self) -> dict[str, int]:
        counted = collections.Counter(test.outcome for test in self.tests.values())
        return {name: counted[name] for name in ALL}

    def on_loop(self) -> int:
        """How many tests made the loop under test."""
        return sum(test.loops > 0 for test in self.tests.values())
