"""Faults of CPython's that a failed allocation lays open, and what keeps each from doing harm.

They damage memory, so the crash comes later and anywhere, and looks like the native module's. A small program shows
whether the running interpreter has a fault; one that has it is made to run where the fault changes nothing.

- **A function that cannot be made costs its code a reference too many** (`MAKE_FUNCTION` in 3.12 and 3.13.0,
  python/cpython#122752): the code is freed while its owner still refers to it. Harmless with references to spare.
- **`dict.setdefault` counts an entry for which there was no memory** (`dict_setdefault_ref_lock_held` in 3.13.0): when
  the dictionary grows next, or is collected, entries beyond its last are read. `_asyncio` enters a task that way.
  Harmless in a dictionary with room to spare.
"""

import _testcapi
import contextlib
import gc
import sys
import types
from asyncio import tasks
from collections.abc import Callable

#: References to spare: more than a run makes allocations fail.
REFERENCES = 100
#: Entries to spare: more than the tasks that a run enters, since the place of a removed entry is not used again.
ENTRIES = 5000

#: What keeps the references.
kept: list[object] = []


def without_memory(function: Callable[[], object]) -> None:
    """Call *function* with its first allocation failing."""
    # `SystemError`: something has returned a result in spite of its error.
    with contextlib.suppress(MemoryError, SystemError):
        try:
            _testcapi.set_nomemory(0, 1)
            function()
        finally:
            _testcapi.remove_mem_hooks()


def codes_in(code: types.CodeType) -> list[types.CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def functions_cost_their_code_a_reference() -> bool:
    def outer() -> object:
        return lambda: None

    (code,) = codes_in(outer.__code__)
    spare = [code] * 2
    before = sys.getrefcount(code)
    without_memory(outer)
    is_lost = sys.getrefcount(code) < before
    # The lost reference is not given up a second time.
    kept.extend(spare if is_lost else [])
    return is_lost


def setdefault_counts_what_it_cannot_add() -> bool:
    full = {1: None, 2: None, 3: None, 4: None, 5: None}
    without_memory(lambda: full.setdefault(6))
    return len(full) > 5


def keep_references_to_code() -> None:
    """Keep references to the code of all functions, and to the code within it."""
    found = [item.__code__ for item in gc.get_objects() if isinstance(item, types.FunctionType)]
    seen = set()
    while found:
        code = found.pop()
        if id(code) not in seen:
            seen.add(id(code))
            kept.append([code] * REFERENCES)
            found += codes_in(code)


def make_room_for_tasks() -> None:
    """Make the dictionary of the tasks under way large."""
    current: dict[object, object] = tasks._current_tasks  # type: ignore[attr-defined]
    keys = [object() for _ in range(ENTRIES)]
    current.update(dict.fromkeys(keys))
    for key in keys:
        del current[key]


#: Whether the interpreter has a fault, and what takes the harm from it.
FAULTS: dict[Callable[[], bool], Callable[[], None]] = {
    functions_cost_their_code_a_reference: keep_references_to_code,
    setdefault_counts_what_it_cannot_add: make_room_for_tasks,
}


def keep_from_harm() -> None:
    """Make the faults that this interpreter has harmless to what runs afterwards."""
    for has_fault, take_harm in FAULTS.items():
        if has_fault():
            take_harm()
