"""Measures the memory that an action leaves in use."""

import gc
import sys
from typing import Any


def grown(action: Any, times: int = 2000) -> int:
    """The number of memory blocks by which the interpreter grows while *action* runs many times."""
    for _ in range(200):
        action()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        action()
    gc.collect()
    return sys.getallocatedblocks() - before
