"""Calls every attribute of every native type with receivers and values that do not belong there.

    python hostile_calls.py SUBJECT

Run by ``test_hostile_objects`` in a process of its own, since what it looks for ends the process. Whatever is called
may raise what it likes. Each call is announced on the standard output before it is made, so the last line names the
one that went wrong; the exit status says whether one did.
"""

import asyncio
import contextlib
import contextvars
import gc
import socket
import sys
import types
import unittest.mock
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ferrio
import ferrio.asyncio
from ferrio import _ferrio

#: What would run for ever, end the process, or close a descriptor that is not the test's.
LEFT_OUT = {
    *("_run_forever_setup", "_run_once", "_run_until_stopped", "run_forever", "run_until_complete"),
    *("__init_subclass__", "__subclasshook__", "__class_getitem__", "add_signal_handler", "remove_signal_handler"),
    # asyncio's own, which read null pointers when the task was not initialised.
    *("get_context", "get_coro"),
}

TYPES = [value for value in vars(_ferrio).values() if isinstance(value, type)]
#: Ferrio's classes over them: their instances have a dictionary.
CLASSES = list(dict.fromkeys(x for x in vars(ferrio.asyncio).values() if set(TYPES) & set(getattr(x, "__mro__", ()))))


#: What is called after an attribute was set, where there is such a method.
USED = ("cancel", "cancelled", "_run", "done", "result", "locked", "release", "is_closing", "get_write_buffer_size")


class Fake:
    """Claims to be an instance of a given class."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.kind


async def coroutine() -> None:
    """A coroutine that does nothing."""


def half_made(kind: Any) -> Iterator[Any]:
    """An instance on which no ``__init__`` was called, if the type allows one."""
    for make in (lambda: object.__new__(kind), lambda: kind.__new__(kind), lambda: kind.__new__(kind, "gather", print)):
        with contextlib.suppress(Exception):
            yield make()  # type: ignore[no-untyped-call]
            return


def values(loop: Any) -> list[Any]:
    """The values that are passed."""
    fakes: list[Any] = [Fake(kind) for kind in (asyncio.Handle, asyncio.Future, asyncio.Task, *TYPES)]
    fakes += [unittest.mock.Mock(spec=asyncio.Handle), unittest.mock.Mock(spec=asyncio.Future)]
    half = [made for kind in (*TYPES, *CLASSES, asyncio.Handle, asyncio.TimerHandle) for made in half_made(kind)]
    plain: list[Any] = [None, -1, 1 << 70, 0.5, "name", b"bytes", (), [], {}, object(), int, print, ValueError()]
    return [*plain, loop, contextvars.copy_context(), *fakes, *half]


def receivers(loop: Any) -> list[Any]:
    """Properly made instances of every type."""
    made: list[Any] = [loop, loop.call_soon(print), loop.call_later(9, print), loop.call_soon_threadsafe(print)]
    future, task = loop.create_future(), loop.create_task(coroutine())
    ours, _theirs = socket.socketpair()
    aio: Any = ferrio.asyncio
    made += [future, task, future.__await__(), loop.sock_recv(ours, 1), aio.sleep(0), aio.sleep, aio.gather]
    made += [aio.Lock(), aio.Event(), aio.Condition(), aio.Semaphore(), aio.Barrier(2)]
    made += [aio.Queue(), aio.TaskGroup(), aio.Timeout(None)]

    async def within() -> None:
        made.append(loop._make_socket_transport(ours, asyncio.Protocol()))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        made.append((await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=datagrams))[0])
        inner, other = loop.create_future(), loop.create_future()
        made.extend([aio.shield(inner), aio.gather(loop.create_task(coroutine()), other)])
        for each in (inner, other):
            made.extend(callback for callback, _ in each._callbacks)

    loop.run_until_complete(within())
    return [*made, *(made for kind in (*TYPES, *CLASSES) for made in half_made(kind))]


def attempt(what: str, call: Callable[[], Any]) -> None:
    """Make one call; only a fault of the native code counts as a failure."""
    sys.stdout.write(what + "\n")
    try:
        made = call()
        if isinstance(made, types.CoroutineType):
            made.close()
        elif type(made) in (_ferrio.Coroutine, _ferrio.SocketOperation):
            # Nothing happens before the first step.
            made.send(None)
            made.close()
    except SystemError as error:
        if "bug" in str(error):
            raise
    except (Exception, asyncio.CancelledError, GeneratorExit):
        pass


def names(kind: type) -> list[str]:
    """The attributes of a type that are called."""
    return [name for name in dir(kind) if name not in LEFT_OUT]


def run(loop: Any) -> None:
    """Run what the calls have scheduled."""
    loop.set_debug(False)
    attempt("the loop is to stop", lambda: loop.call_soon(loop.stop))
    attempt("the loop runs", loop.run_forever)


def wrong_receivers(loop: Any) -> None:
    """Call the methods and attributes of one type on objects of another."""
    given = values(loop)
    for kind in TYPES:
        for name in names(kind):
            found: Any = vars(kind).get(name)
            for index, value in enumerate(given):
                if isinstance(value, kind) and type(value).__class__ is type:
                    continue
                what = f"{kind.__name__}.{name} of value {index}: {type(value).__name__}"
                if callable(found):
                    attempt(what, lambda: found(value))
                    attempt(what, lambda: found(value, value))
                if hasattr(type(found), "__get__"):
                    attempt(what, lambda: found.__get__(value))
                if hasattr(type(found), "__set__"):
                    attempt(what, lambda: found.__set__(value, value))
                    attempt(what, lambda: found.__delete__(value))


def wrong_arguments(loop: Any) -> None:
    """Call the methods of properly made and of half-made instances with unsuitable values."""
    given = values(loop)
    for number, receiver in enumerate(receivers(loop)):
        kind = type(receiver)
        for name in names(kind):
            if receiver is loop and name in ("close", "_release", "__del__"):
                continue
            if name in ("__class__", "__init__", "__reduce__", "__reduce_ex__", "__dict__"):
                continue
            for index, value in enumerate(given):
                for count in (0, 1, 2, 5, 8) if index % 7 == 0 else (1, 2):
                    what = f"{number}: {kind.__name__}.{name}(*{count} * value {index}: {type(value).__name__})"
                    attempt(what, lambda: getattr(receiver, name)(*(value,) * count))
    run(loop)


def is_settable(kind: type, name: str) -> bool:
    """Whether the type itself handles setting the attribute."""
    found = next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)
    return hasattr(type(found), "__set__")


def wrong_values(loop: Any) -> None:
    """Set attributes to unsuitable values, delete them, and use everything afterwards."""
    given = values(loop)
    for number, receiver in enumerate(receivers(loop)):
        if receiver is loop:
            continue
        kind = type(receiver)
        places = [name for name in names(kind) if not name.startswith("__") and is_settable(kind, name)]
        for name in places:
            for index, value in enumerate([*given, *given[:1]]):
                what = f"{number}: {kind.__name__}.{name} = value {index}: {type(value).__name__}"
                attempt(what, lambda: setattr(receiver, name, value))
                attempt(f"{what}; repr", lambda: repr(receiver))
                for used in USED:
                    if hasattr(receiver, used):
                        attempt(f"{what}; {used}()", lambda: getattr(receiver, used)())
            attempt(f"{number}: del {kind.__name__}.{name}", lambda: delattr(receiver, name))
            attempt(f"{number}: repr({kind.__name__})", lambda: repr(receiver))
    run(loop)


def twice(loop: Any) -> None:
    """Call ``__init__`` again, also in the middle of operations."""
    for number, receiver in enumerate(receivers(loop)):
        if receiver is loop:
            continue
        for index, value in enumerate(values(loop)):
            for count in (0, 1, 2, 5):
                what = f"{number}: {type(receiver).__name__}.__init__(*{count} * value {index})"
                attempt(what, lambda: receiver.__init__(*(value,) * count))
                attempt(f"{what}; cancel", lambda: receiver.cancel())
    run(loop)


SUBJECTS = {function.__name__: function for function in (wrong_receivers, wrong_arguments, wrong_values, twice)}


def main() -> None:
    """Run one subject on a loop, and finish everything."""
    warnings.simplefilter("ignore")
    loop: Any = ferrio.Loop()
    loop.set_exception_handler(lambda loop, context: None)
    SUBJECTS[sys.argv[1]](loop)
    loop.close()
    del loop
    gc.collect()
    sys.stdout.write("everything was called\n")


if __name__ == "__main__":
    main()
