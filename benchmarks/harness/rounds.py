"""The order of the measurements: interleaved, so that a slow minute of the machine hits every loop alike.

In each round every case is measured once on every loop, one straight after the other, and the loop that
begins is another one each time.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import loops

from .cases import Case, EchoCase, MicroCase
from .progress import Progress
from .sample import Metrics, SampleFailed, Settings, expected_seconds


@dataclass(frozen=True)
class Step:
    round: int
    case: Case
    loop: str


@dataclass
class Outcome:
    """What a run gave.

    A sample is ``{"case", "loop", "round", "metrics"}``; a failure has ``"error"`` in place of the metrics.
    """

    samples: list[dict[str, object]] = field(default_factory=list)
    failures: list[dict[str, object]] = field(default_factory=list)
    interrupted: bool = False


def plan(cases: list[Case], names: list[str], rounds: int) -> list[Step]:
    """Every sample of the run, in order."""
    steps = []
    for number in range(rounds):
        for index, case in enumerate(cases):
            contestants = contestants_of(case, names)
            if not contestants:
                continue
            first = (number + index) % len(contestants)
            steps += [Step(number, case, name) for name in contestants[first:] + contestants[:first]]
    return steps


def contestants_of(case: Case, names: list[str]) -> list[str]:
    """Those of *names* that differ in this case, and the further contestants of the case."""
    has_namespace = isinstance(case, MicroCase | EchoCase) and case.uses_namespace
    return [*(name for name in names if has_namespace or name != loops.NAMESPACE), *case.also]


def run(
    steps: list[Step], settings: Settings, take: Callable[[Case, str, Settings], Metrics], progress: Progress
) -> Outcome:
    """Take the samples. A loop that fails a case is not asked for it again; Ctrl-C ends the run early."""
    outcome = Outcome()
    failed: set[tuple[str, str]] = set()
    rounds = 1 + max((step.round for step in steps), default=0)
    try:
        for step in steps:
            where = {"case": step.case.name, "loop": step.loop, "round": step.round}
            if (step.case.name, step.loop) not in failed:
                progress.show(f"round {step.round + 1} of {rounds}: {step.case.name}", step.loop)
                try:
                    outcome.samples.append({**where, "metrics": take(step.case, step.loop, settings)})
                except SampleFailed as failure:
                    failed.add((step.case.name, step.loop))
                    outcome.failures.append({**where, "error": str(failure)})
                    progress.say(f"{step.loop} failed {step.case.name}: {failure}")
            progress.advance()
    except KeyboardInterrupt:
        outcome.interrupted = True
        progress.say("Interrupted; what has been measured is kept.")
    progress.clear()
    return outcome


def planned_seconds(steps: list[Step], settings: Settings) -> list[float]:
    return [expected_seconds(step.case, settings) for step in steps]


def settings_as_data(settings: Settings) -> dict[str, float]:
    return asdict(settings)
