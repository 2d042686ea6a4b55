"""What stands for asyncio where a test makes streams: asyncio itself, and on Ferrio's loop its namespace too."""

import asyncio
from types import ModuleType

from .loop_under_test import NAME

NAMESPACES: dict[str, ModuleType] = {"streams": asyncio}
if NAME == "ferrio":
    import ferrio.asyncio

    NAMESPACES["ferrio.asyncio streams"] = ferrio.asyncio
