"""A loop over a selector of the program's: asyncio's own loop, whichever class it was made by.

A program passes a selector to have it called: an input hook, the loop of a graphical toolkit, a test's clock. Ferrio's
core polls the kernel itself and would never call it. So the new object changes its class to one in which all methods
are asyncio's: the native core and Ferrio's methods are left out of the method resolution order, and what a program's
subclass overrides still comes before asyncio's. Such a loop remains an instance of ``ferrio.Loop`` and of the program's
class.
"""

from __future__ import annotations

import selectors

from ._asyncio_internals import unix_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["use_selector"]


def use_selector(loop: Any, selector: selectors.BaseSelector, own: type) -> None:
    """Make *loop*, a new object of the class *own* or of a subclass, asyncio's loop over *selector*.

    Args:
        own: Ferrio's class; its last base is asyncio's class.
    """
    loop._release()
    loop.__class__ = _class_over_selectors(type(loop), own)
    unix_events._UnixSelectorEventLoop.__init__(loop, selector)


def _class_over_selectors(made_by: type, own: type) -> type:
    known: type | None = vars(made_by).get("_class_over_selectors")
    if known is not None:
        return known

    class Resolving(type(made_by)):  # type: ignore[misc]
        def mro(cls) -> list[type]:
            order = [base for base in super().mro() if base not in (own, *own.__bases__[:-1])]
            # For `isinstance`. Just before `object`, it provides no attribute that one of asyncio's classes has.
            order.insert(-1, own)
            return order

    namespace: dict[str, Any] = {name: getattr(made_by, name) for name in ("__module__", "__qualname__", "__doc__")}
    made: type = Resolving(made_by.__name__, (made_by,), namespace)
    made_by._class_over_selectors = made  # type: ignore[attr-defined]
    return made
