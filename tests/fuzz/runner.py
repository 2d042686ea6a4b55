"""Runs seeds in forked children, some at a time, and looks into each that ends badly."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import values
from fuzz.calls import forget_types, leave_out
from fuzz.child import Child, Ending, Record
from fuzz.script import script
from fuzz.seed import run_seed
from fuzz.shrink import fails, kind_of, shrink
from fuzz.verdict import place, starved, verdict, waits_elsewhere

SEEDS_IN_CHILD = 25
SEEDS_OF_GROWTH = 6
#: Programs of one fault that are looked into; more are only counted.
PROGRAMS_OF_FAULT = 2
#: The same for what programs leave behind, which does not say where.
PROGRAMS_OF_GROWTH = 8


@dataclass
class Plan:
    """What to run."""

    operations: int
    seconds: float
    seed: int
    jobs: int
    calls: int
    only: str
    folder: Path
    shrink_s: float
    #: One child in this many runs its seeds again and again, to see what they leave; none when it is 0.
    growth_share: int = 12


@dataclass
class Totals:
    """What has been done."""

    operations: int = 0
    seeds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    #: What the standard library's types do as well.
    own: Counter[str] = field(default_factory=Counter)
    #: What may have come of the machine's load, of the system's, or of the interpreter's own.
    doubtful: Counter[str] = field(default_factory=Counter)
    programs: list[Path] = field(default_factory=list)


def is_asyncios_own(path: Path, fault: str) -> bool:
    """Whether the program fails in the same way with the standard library's loop and types in place of Ferrio's."""

    def body(_: Record) -> None:
        os.execve(sys.executable, [sys.executable, str(path)], {**os.environ, "FERRIO_TEST_LOOP": "asyncio"})

    child = Child(body, guarded=False)
    while (ending := child.poll(1.0)) is None:
        pass
    ending.record.close()
    found = verdict(ending)
    return found is not None and found.partition(":")[0] == fault.partition(":")[0]


class Batch:
    """The seeds of one child."""

    def __init__(self, seeds: range, plan: Plan, growing: bool) -> None:
        self.seeds = seeds
        self.growing = growing

        def body(record: Record) -> None:
            def note(text: str) -> None:
                record.note(text)

            def program() -> None:
                for seed in seeds:
                    note(f"# seed {seed}\n")
                    record.add_calls(run_seed(seed, plan.calls, note, plan.only))
                if growing:
                    forget_types()

            if growing:
                # What is interrupted between opening and owning is left open, by the interpreter's own library too.
                leave_out(["interrupted(", "signalling", "interrupting", "'interrupt'", "'signal'"])
                values.grows(program, blocks_allowed=60)
            else:
                program()

        self.child = Child(body)


class Runner:
    """Runs a plan; *show* is told of the totals now and then, *tell* of each new program."""

    def __init__(self, plan: Plan, show: Callable[[Totals], None], tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.show = show
        self.tell = tell
        self.totals = Totals()
        self._seed = plan.seed
        self._batches = 0
        self._looked_into: Counter[str] = Counter()
        #: Where in `_asyncio` the standard library's own types were killed.
        self._own_places: set[str] = set()

    def run(self) -> Totals:
        deadline = time.monotonic() + self.plan.seconds
        under_way: list[Batch] = []
        try:
            return self._work(under_way, deadline)
        finally:
            for batch in under_way:
                batch.child.stop()

    def _work(self, under_way: list[Batch], deadline: float) -> Totals:
        while True:
            wanted = self.totals.operations < self.plan.operations and time.monotonic() < deadline
            while wanted and len(under_way) < self.plan.jobs:
                under_way.append(self._next_batch())
            if not under_way:
                return self.totals
            for batch in under_way[:]:
                ending = batch.child.poll(0.003)
                if ending is not None:
                    under_way.remove(batch)
                    self._ended(batch, ending)
            self.show(self.totals)

    def _next_batch(self) -> Batch:
        self._batches += 1
        growing = bool(self.plan.growth_share) and self._batches % self.plan.growth_share == 0
        count = SEEDS_OF_GROWTH if growing else SEEDS_IN_CHILD
        seeds = range(self._seed, self._seed + count)
        self._seed += count
        return Batch(seeds, self.plan, growing)

    def _ended(self, batch: Batch, ending: Ending) -> None:
        lines = ending.record.lines()
        programs: list[list[str]] = []
        for line in lines:
            if line.startswith("# seed"):
                programs.append([line])
            else:
                programs[-1].append(line)
        self.totals.seeds += len(programs)
        self.totals.operations += sum(line.startswith("call(") for line in lines)
        ending.record.close()
        if (end := starved(ending)) is not None:
            self.totals.doubtful[end] += 1
        fault = verdict(ending)
        if fault is not None:
            self._look_into(batch, programs, fault, ending)

    def _look_into(self, batch: Batch, programs: list[list[str]], fault: str, ending: Ending) -> None:
        """Find the seed that failed, shorten its program and write it down."""
        last = programs[-1][-1] if programs else ""
        where = place(ending)
        key = f"{fault} {where}"
        if where and where.split()[0] in self._own_places:
            self.totals.own[key] += 1
            return
        if self._looked_into[key] >= (PROGRAMS_OF_GROWTH if batch.growing else PROGRAMS_OF_FAULT):
            # When none of those that were looked into was a fault, this one is taken for none.
            (self.totals.faults if self.totals.faults[key] else self.totals.doubtful)[key] += 1
            return
        self._looked_into[key] += 1
        programs = programs[-len(batch.seeds) :]
        suspects = programs if batch.growing or not fault.startswith(("killed", "hang")) else programs[-1:]
        together = [
            f"{programs[0][0]} - {batch.seeds.stop - 1}",
            *(line for program in programs for line in program[1:]),
        ]
        chosen, seen = together, False
        for suspect in [*reversed(suspects), together]:
            # Collections in other places show what one in its usual place does not.
            for often in ([], ["gc.set_threshold(3)"]):
                found = fails(often + suspect[1:], batch.growing)
                if found is not None and (not batch.growing or kind_of(found) == kind_of(fault)):
                    chosen, fault, seen = [suspect[0], *often, *suspect[1:]], found, True
                    break
            if seen:
                break
        statements = shrink(chosen[1:], fault, self.plan.shrink_s) if seen else chosen[1:]
        # Threads that end late grow in number on a loaded machine; the interpreter fails and waits by itself as well.
        doubtful = not seen and (
            where.startswith("_asyncio")
            or (ending.hung and waits_elsewhere(ending))
            or (batch.growing and not self._grows_again(batch, fault))
        )
        doubt = "" if seen else " (not seen again when the program was run by itself)"
        origin = f"From {chosen[0].lstrip('# ')} with {self.plan.calls} calls.{doubt} The last call was:\n    {last}"
        text = script(
            statements, fault.replace("\\", "/").replace('"', "'"), origin.replace("\\", "\\\\").replace('"""', "'''")
        )
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        name = "".join(character if character.isalnum() else "-" for character in fault)[:60].strip("-")
        path = self.plan.folder / f"{name}-{chosen[0].split()[2]}.py"
        path.write_text(text, errors="backslashreplace")
        path.with_suffix(".txt").write_text(ending.said, errors="backslashreplace")
        if seen and values.LOOP == "ferrio" and is_asyncios_own(path, fault):
            self.totals.own[key] += 1
            if where.startswith("_asyncio"):
                self._own_places.add(where.split()[0])
            path.rename(path.with_name(f"own-{path.name}"))
            path.with_suffix(".txt").rename(path.with_name(f"own-{path.stem}.txt"))
            return
        if doubtful:
            self.totals.doubtful[key] += 1
            path.rename(path.with_name(f"doubtful-{path.name}"))
            path.with_suffix(".txt").rename(path.with_name(f"doubtful-{path.stem}.txt"))
            return
        self.totals.faults[key] += 1
        self.totals.programs.append(path)
        self.tell(
            f"{fault}{doubt}\n  {path}, {len(statements)} statements:\n"
            + "\n".join(f"    {s}" for s in statements[-12:])
        )

    def _grows_again(self, batch: Batch, fault: str) -> bool:
        """Whether the batch's seeds, drawn once more, leave the same behind."""
        again = Batch(batch.seeds, self.plan, growing=True).child
        while (ending := again.poll(1.0)) is None:
            pass
        ending.record.close()
        found = verdict(ending)
        return found is not None and kind_of(found) == kind_of(fault)
