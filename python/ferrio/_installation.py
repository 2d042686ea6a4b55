"""``install`` and ``uninstall``: Ferrio's loop under asyncio's names, for programs nobody wants to edit."""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.unix_events
import threading
from typing import Any

from ._event_loop import Loop

# asyncio's names of its Unix loop, and the default policies' factory. Not every version has each.
_NAMES = ("SelectorEventLoop", "EventLoop")
_POLICIES = ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy")

_lock = threading.Lock()
_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Make ``asyncio.run``, ``Runner``, ``new_event_loop`` and asyncio's loop classes mean Ferrio's loop.

    For the whole process, until ``uninstall()``; loops that exist stay what they are.
    Calling it twice is calling it once.
    """
    with _lock:
        if _replaced:
            return
        for module in (asyncio, asyncio.unix_events):
            for name in _NAMES:
                _replace(module, name, Loop)
        for name in _POLICIES:
            policy = vars(asyncio.unix_events).get(name)
            if policy is not None:
                _replace(policy, "_loop_factory", Loop)


def uninstall() -> None:
    """Put back what ``install()`` replaced."""
    with _lock:
        while _replaced:
            owner, name, before = _replaced.pop()
            setattr(owner, name, before)


def _replace(owner: Any, name: str, value: object) -> None:
    before = vars(owner).get(name)
    if before is not None and before is not value:
        _replaced.append((owner, name, before))
        setattr(owner, name, value)
