"""``EventLoopPolicy``, for programs that choose their loop by policy (until Python 3.15)."""

from __future__ import annotations

import asyncio
import warnings

from ._event_loop import Loop

with warnings.catch_warnings():
    # Since 3.14 asyncio warns whenever the class is named; whether to use it is the program's decision.
    warnings.simplefilter("ignore", DeprecationWarning)
    _Base = asyncio.DefaultEventLoopPolicy


class EventLoopPolicy(_Base):
    """asyncio's default policy, which makes Ferrio loops."""

    _loop_factory = Loop
