"""What an action adds to the memory of the interpreter."""

import gc
import sys
from typing import Any


def grown(action: Any, times: int = 2000) -> int:
    """By how many memory blocks the interpreter grows while *action* runs many times."""
    for _ in range(200):
        action()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        action()
    gc.collect()
    return sys.getallocatedblocks() - before
