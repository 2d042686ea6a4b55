"""The namespace whose primitives are under test.

``ferrio.asyncio``, on Ferrio's loop; in the control run it is asyncio's own, on asyncio's loop.
"""

import asyncio as stdlib
from typing import Any

import ferrio.asyncio

from ..loops import NAME

ours: Any = ferrio.asyncio if NAME == "ferrio" else stdlib
