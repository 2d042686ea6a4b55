"""``ferrio._ferrio._C_API`` as an extension sees it, through ctypes."""

import ctypes
from collections.abc import Callable
from typing import Any

from ferrio import _ferrio

NAME = b"ferrio._ferrio._C_API"
FUNCTION = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
FAILED = -1
END, RUN = 0, 1
READ, WRITE = 1, 2

#: The functions in their order: the type of the result, those of the arguments, whether it is called detached.
FUNCTIONS: dict[str, tuple[Any, list[Any], bool]] = {
    "handle_new": (ctypes.c_void_p, [ctypes.py_object], False),
    "handle_clone": (ctypes.c_void_p, [ctypes.c_void_p], True),
    "handle_free": (None, [ctypes.c_void_p], True),
    "post": (ctypes.c_int, [ctypes.c_void_p, FUNCTION, ctypes.c_void_p], True),
    "waiter_new": (ctypes.py_object, [ctypes.py_object], False),
    "waiter_wake": (ctypes.c_int, [ctypes.py_object], False),
    "timer_start": (ctypes.py_object, [ctypes.py_object, ctypes.c_double, FUNCTION, ctypes.c_void_p], False),
    "watch_start": (ctypes.py_object, [ctypes.py_object, ctypes.c_int, FUNCTION, ctypes.c_void_p], False),
    "watch_for": (ctypes.c_int, [ctypes.py_object, ctypes.c_int], False),
    "stop": (ctypes.c_int, [ctypes.py_object], False),
}


class Table(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        *((name, ctypes.c_void_p) for name in FUNCTIONS),
    ]


class Api:
    """The table, each of its functions a method."""

    def __init__(self) -> None:
        pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
        address = pointer(("PyCapsule_GetPointer", ctypes.pythonapi))(_ferrio._C_API, NAME)
        self.table = Table.from_address(address)
        for name, (result, arguments, is_detached) in FUNCTIONS.items():
            kind = ctypes.CFUNCTYPE if is_detached else ctypes.PYFUNCTYPE
            setattr(self, name, kind(result, *arguments)(getattr(self.table, name)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class News:
    """A function of the extension's that notes what it is told."""

    def __init__(self, told: Callable[[int], object] = lambda _: None) -> None:
        self.told: list[int] = []

        def function(_data: int | None, news: int) -> None:
            self.told.append(news)
            told(news)

        self.function = FUNCTION(function)


API = Api()
