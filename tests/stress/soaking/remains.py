"""Counts of everything in which a connection that was not let go of would show."""

import asyncio
import ctypes
import gc
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Allowance:
    """How much a count may grow, and why not zero."""

    amount: int
    reason: str = ""


_UNSWEPT = Allowance(100, "cancelled timers that wait for a sweep, as many as asyncio keeps")
ALLOWED = {
    "timers that wait": _UNSWEPT,
    "objects: asyncio.events.TimerHandle": _UNSWEPT,
    "objects: ferrio.TimerHandle": _UNSWEPT,
    "objects: _contextvars.Context": _UNSWEPT,
    "allocated blocks": Allowance(2000, "caches of the interpreter"),
    "heap in use, KiB": Allowance(512, "caches, and buffers that keep their largest size"),
    "resident memory, KiB": Allowance(8 * 1024, "fragmentation of the allocators' pages"),
}
MODULES = (
    "asyncio",
    "_asyncio",
    "ferrio",
    "_ferrio",
    "socket",
    "_socket",
    "selectors",
    "soaking",
    "__main__",
)
OTHER_TYPES = ("coroutine", "Context", "async_generator")


def snapshot() -> dict[str, int]:
    """Everything that a leaked connection would show in, by name."""
    for _ in range(3):
        gc.collect()
    give_free_memory_back()
    counts: dict[str, int] = {}
    kinds: Counter[str] = Counter()
    watched = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            if target == "anon_inode:[eventpoll]":
                watched += Path(f"/proc/self/fdinfo/{name}").read_text().count("tfd:")
            elif target == "anon_inode:[io_uring]":
                watched += Path(f"/proc/self/fdinfo/{name}").read_text().count("op=")
        except FileNotFoundError:
            continue  # the listing's own descriptor
        kinds[target.partition(":")[0]] += 1
    counts["descriptors"] = sum(kinds.values())
    counts["of these, sockets"] = kinds["socket"]
    counts["watched descriptors"] = watched
    counts["tasks"] = len(asyncio.all_tasks())
    # The collector does not see handles that wait in a running loop.
    counts["timers that wait"] = len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]
    objects: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if kind.__module__.partition(".")[0] in MODULES or kind.__name__ in OTHER_TYPES:
            objects[f"{kind.__module__}.{kind.__qualname__}"] += 1
    counts |= {f"objects: {name}": count for name, count in sorted(objects.items())}
    counts["allocated blocks"] = sys.getallocatedblocks()
    heap = heap_in_use()
    if heap is not None:
        counts["heap in use, KiB"] = heap // 1024
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    counts["resident memory, KiB"] = resident_pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return counts


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def heap_in_use() -> int | None:
    """Bytes that programs of this process hold from ``malloc``, or None where the C library does not tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = _MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def give_free_memory_back() -> None:
    """Have the C library return pages that it keeps for later, so that resident memory is memory in use."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What grew beyond its allowance, and by how much."""
    grown = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    return {name: by for name, by in sorted(grown.items()) if by > ALLOWED.get(name, Allowance(0)).amount}


def print_table(before: dict[str, int], after: dict[str, int]) -> None:
    names = [*before, *(name for name in after if name not in before)]
    width = max(map(len, names))
    print(f"\n{'':{width}}  {'before':>10}  {'after':>10}  {'growth':>8}  allowed")
    for name in names:
        was, now = before.get(name, 0), after.get(name, 0)
        by = now - was
        allowance = ALLOWED.get(name, Allowance(0))
        if name.startswith("objects:") and was == now == 0:
            continue
        mark = "  <-- grew" if by > allowance.amount else ""
        reason = f" ({allowance.reason})" if allowance.reason else ""
        print(f"{name:{width}}  {was:10,}  {now:10,}  {by:8,}  {allowance.amount:,}{reason}{mark}")
