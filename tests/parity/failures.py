"""The exceptions that a program may raise, for tests that go through all of them."""

import asyncio
from collections.abc import Callable


class Base(BaseException):
    """An exception that is not an `Exception`."""


#: Makers of exceptions that are reported, and end no more than what they belong to.
FAILURES: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("theirs"),
    "OSError": lambda: OSError(5, "theirs"),
    "CancelledError": lambda: asyncio.CancelledError("theirs"),
    "GeneratorExit": lambda: GeneratorExit("theirs"),
    "BaseException": lambda: Base("theirs"),
}

#: Makers of the two that leave the loop.
EXITS: dict[str, Callable[[], BaseException]] = {
    "KeyboardInterrupt": lambda: KeyboardInterrupt("theirs"),
    "SystemExit": lambda: SystemExit(3),
}
