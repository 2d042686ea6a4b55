"""A loop over a selector of the program's: asyncio's own loop, whichever class it was made by.

A selector is given to be asked: by an input hook, the loop of a graphical toolkit, a test's clock. Ferrio's loop polls
the kernel itself and has nobody to ask. So an object that is given one changes its class to one whose methods are
asyncio's: the native half and what Ferrio puts over asyncio's methods are left out of the order in which methods are
found, and what a program has put over ``SelectorEventLoop`` stays before asyncio's. Such a loop still is an instance of
``ferrio.Loop`` and of the program's class.
"""

from __future__ import annotations

import asyncio.unix_events
import selectors
from typing import Any

__all__ = ["run_over"]


def run_over(loop: Any, selector: selectors.BaseSelector, own: type, *halves: type) -> None:
    """Make *loop*, a new object of the class *own* or of a subclass, asyncio's loop over *selector*.

    Args:
        halves: The bases of *own* that come before asyncio's class.
    """
    loop._release()
    loop.__class__ = _class_over_selectors(type(loop), own, halves)
    asyncio.unix_events._UnixSelectorEventLoop.__init__(loop, selector)


def _class_over_selectors(made_by: type, own: type, halves: tuple[type, ...]) -> type:
    known: type | None = vars(made_by).get("_class_over_selectors")
    if known is not None:
        return known

    class Resolving(type(made_by)):  # type: ignore[misc]
        def mro(cls) -> list[type]:
            order = [base for base in super().mro() if base is not own and base not in halves]
            # For `isinstance`; before `object`, nothing of it is found in place of something of asyncio's.
            order.insert(-1, own)
            return order

    namespace: dict[str, Any] = {name: getattr(made_by, name) for name in ("__module__", "__qualname__", "__doc__")}
    # A property would come before asyncio's attribute of that name.
    namespace.update(dict.fromkeys(name for name, value in vars(own).items() if hasattr(type(value), "__set__")))
    made: type = Resolving(made_by.__name__, (made_by,), namespace)
    made_by._class_over_selectors = made  # type: ignore[attr-defined]
    return made
