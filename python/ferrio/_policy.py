"""``EventLoopPolicy``, for programs that still choose their loop through one (Python 3.15 and older)."""

from __future__ import annotations

import asyncio
import warnings

from ._event_loop import Loop

with warnings.catch_warnings():
    # Policies are deprecated from 3.14 on; naming the class warns, using it is the program's choice.
    warnings.simplefilter("ignore", DeprecationWarning)
    _Base = asyncio.DefaultEventLoopPolicy


class EventLoopPolicy(_Base):
    """asyncio's default policy, making Ferrio loops."""

    _loop_factory = Loop
