"""Hostile arguments, and what a fuzzed program needs beside them.

A program that the fuzzer prints begins with those definitions of this file that it uses, so nothing here imports the
fuzzer. `v` are the program's variables; its statements are calls of `call`.
"""

import array
import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import itertools
import logging
import operator
import os
import pickle
import random
import signal
import socket
import sys
import threading
import types
import warnings
import weakref

LOOP = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
if LOOP == "ferrio":
    import ferrio
    import ferrio.asyncio as aio

    native = ferrio._ferrio
    new_event_loop = ferrio.new_event_loop
else:
    from asyncio import selector_events, taskgroups

    ferrio = types.SimpleNamespace(Loop=asyncio.SelectorEventLoop, Future=asyncio.Future, Task=asyncio.Task)
    aio = asyncio
    native = types.SimpleNamespace(
        Future=asyncio.Future,
        Task=asyncio.Task,
        Handle=asyncio.Handle,
        TimerHandle=asyncio.TimerHandle,
        LoopCore=asyncio.SelectorEventLoop,
        StreamTransport=selector_events._SelectorSocketTransport,
        DatagramTransport=selector_events._SelectorDatagramTransport,
        TaskGroupCore=taskgroups.TaskGroup,
    )
    new_event_loop = asyncio.SelectorEventLoop

#: The program's variables.
v: list = [None] * 24
#: How many more deeds hostile objects may do in this program, and how deep they are in one another.
deeds_left = 300
depth = 0


#: The iterator of a standard future, whose `send` sets no exception once it has ended.
FUTURE_ITERATOR = type(asyncio.Future(loop=types.SimpleNamespace(get_debug=bool)).__await__())


def is_asyncios_own(error):
    """Whether the error may be of a FUTURE_ITERATOR: some interpreters do not say what was called."""
    text = str(error)
    return "_asyncio.FutureIter" in text or (
        "error return without exception set" in text and any(type(thing) is FUTURE_ITERATOR for thing in v)
    )


def say_what_must_not_be(error):
    """Tell of an error that no program may see: the interpreter's own complaints about an extension."""
    if isinstance(error, SystemError) and is_asyncios_own(error):
        return
    if isinstance(error, SystemError) or type(error).__name__ == "PanicException":
        os.write(2, f"MUST NOT BE: {type(error).__name__}: {error}\n".encode(errors="backslashreplace"))


def call(slot, function, keeps_error=False):
    """Call *function* and keep what it returns, or its error, in the variable *slot*."""
    try:
        result = function()
    except BaseException as error:
        say_what_must_not_be(error)
        if keeps_error:
            v[slot] = error
        return
    if result is not None:
        v[slot] = result


def on_unraisable(unraisable):
    say_what_must_not_be(unraisable.exc_value)


class Quiet(logging.Handler):
    """Formats what is logged, and writes none of it."""

    def emit(self, record):
        record.getMessage()
        if record.exc_info:
            say_what_must_not_be(record.exc_info[1])


class Interrupted(KeyboardInterrupt):
    """Ends a wait that nothing else would end."""


#: Code in which no interrupt is raised.
uninterrupted = set()


def on_alarm(number, frame):
    if frame is None or frame.f_code not in uninterrupted:
        raise Interrupted


#: A wait is interrupted after this time, again and again.
PATIENCE_S = 0.06


def prepare():
    """Make ready for a program's calls: no output but findings, and a signal that ends waits."""
    sys.unraisablehook = on_unraisable
    threading.excepthook = lambda arguments: say_what_must_not_be(arguments.exc_value)
    warnings.simplefilter("ignore")
    logger = logging.getLogger("asyncio")
    logger.propagate = False
    logger.handlers[:] = [Quiet()]
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)


def is_a(thing, kind):
    """`isinstance` that believes no `__class__`."""
    return issubclass(type(thing), kind)


def every(kind):
    return [thing for thing in v if is_a(thing, kind)]


# Loops


class SubLoop(ferrio.Loop):
    """A subclass, whose instances take any attribute."""


class CountingLoop(ferrio.Loop):
    """A subclass that replaces what the loop calls of itself."""

    def call_soon(self, *args, **kwargs):
        return super().call_soon(*args, **kwargs)

    def create_future(self):
        return super().create_future()

    def get_debug(self):
        return False


def new_loop(kind=None):
    loop = new_event_loop() if kind is None else kind()
    loop.slow_callback_duration = 1e9
    return loop


def turn(loop):
    """One turn that does not wait."""
    loop.stop()
    loop.run_forever()


def run(loop, awaitable, turns=6):
    """What *awaitable* returns within a few turns."""
    task = asyncio.ensure_future(awaitable, loop=loop)
    for _ in range(turns):
        if task.done():
            break
        turn(loop)
    return task.result()


def wait_a_little(loop):
    loop.call_later(0.002, loop.stop)
    loop.run_forever()


def first(result):
    return result[0]


# Callbacks, coroutines, protocols


def nothing(*args, **kwargs):
    pass


def raising(*args, **kwargs):
    raise ValueError("raised")


def interrupting(*args):
    raise KeyboardInterrupt


def exiting(*args):
    raise SystemExit


def signalling(*args):
    signal.raise_signal(signal.SIGINT)


def keeping(*args):
    """A callback that keeps what it was called with."""
    for thing in args:
        v[deeds_left % len(v)] = thing


def closing(*args):
    act("close")


def stopping(*args):
    for loop in every(asyncio.AbstractEventLoop):
        call(0, loop.stop)


def acting(deed):
    return lambda *args: act(deed)


async def work(*awaitables):
    """Awaits one after another, whatever they end with."""
    last = None
    for awaitable in awaitables:
        try:
            last = await awaitable
        except Exception as error:
            last = error
    return last


async def stubborn(awaitable):
    """Takes a cancellation for nothing."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        await aio.sleep(0)


async def within(manager, awaitable):
    async with manager as entered:
        v[deeds_left % len(v)] = entered
        return await awaitable


async def over(iterable):
    return [thing async for thing in iterable]


async def one_by_one(iterable):
    return [await thing for thing in iterable]


async def spawning(group, awaitable):
    async with group:
        group.create_task(work(awaitable))
        await aio.sleep(0)


async def generating():
    yield 1
    await aio.sleep(0)
    yield 2


def plain_generator():
    while True:
        yield


@types.coroutine
def yielding(*things):
    """A coroutine that gives its task anything to wait for."""
    for thing in things:
        with contextlib.suppress(RuntimeError):
            yield thing


class Awaitable:
    def __init__(self, iterator):
        self.iterator = iterator

    def __await__(self):
        return self.iterator


class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class DatagramProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport


class ActingProtocol(asyncio.Protocol):
    """Does *deed* in each of its methods."""

    def __init__(self, deed):
        self.deed = deed

    def connection_made(self, transport):
        act(self.deed)

    def data_received(self, data):
        act(self.deed)

    def eof_received(self):
        act(self.deed)
        return True

    def pause_writing(self):
        act(self.deed)

    def resume_writing(self):
        act(self.deed)

    def connection_lost(self, error):
        act(self.deed)

    def datagram_received(self, data, address):
        act(self.deed)

    def error_received(self, error):
        act(self.deed)


class ResizingProtocol(asyncio.BufferedProtocol):
    """Lends one buffer, and tries to change its size while it is lent."""

    def __init__(self, deed="resize", size=64):
        self.deed = deed
        self.buffer = bytearray(size)

    def get_buffer(self, hint):
        act(self.deed)
        return self.buffer

    def buffer_updated(self, count):
        act(self.deed)
        self.buffer.append(0)


# Sockets


def pair(one, other):
    """Two connected sockets in the variables *one* and *other*."""
    v[one], v[other] = socket.socketpair()
    v[one].setblocking(False)
    v[other].setblocking(False)


def listener():
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def tcp_pair(one, other):
    with socket.create_server(("127.0.0.1", 0)) as server:
        v[one] = socket.create_connection(server.getsockname(), timeout=1)
        v[other], _ = server.accept()
    v[one].setblocking(False)
    v[other].setblocking(False)


def datagram_pair(one, other):
    v[one] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v[other] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v[one].bind(("127.0.0.1", 0))
    v[other].bind(("127.0.0.1", 0))
    v[one].connect(v[other].getsockname())
    v[other].connect(v[one].getsockname())
    v[one].setblocking(False)
    v[other].setblocking(False)


def closed_socket():
    sock = socket.socket()
    sock.close()
    return sock


def blocking_socket():
    return socket.socket()


class OddSocket(socket.socket):
    """A socket whose methods do something else first."""

    def recv(self, *args):
        act("close")
        return super().recv(*args)

    def send(self, *args):
        act("drop")
        return super().send(*args)

    def fileno(self):
        act("soon")
        return super().fileno()


def odd_socket():
    one, other = socket.socketpair()
    other.setblocking(False)
    v[deeds_left % len(v)] = other
    odd = OddSocket(fileno=one.detach())
    odd.setblocking(False)
    return odd


def duplicate(sock):
    return sock.dup()


def reset(sock):
    """End *sock* so that its peer is reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def fill(sock):
    for _ in range(40):
        sock.send(bytes(65536))


def drain(sock):
    for _ in range(40):
        sock.recv(65536)


def exchange(sock):
    """Send a little and take what is there."""
    sock.send(b"some bytes")
    return sock.recv(1000)


def replace_number(sock):
    """Put another open file under the number of *sock* behind its back."""
    with socket.socket() as other:
        os.dup2(other.fileno(), sock.fileno())


def pipe_ends(one, other):
    reading, writing = os.pipe()
    ends = os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)
    v[one], v[other] = ends


def address_of(server):
    return server.sockets[0].getsockname()


# Threads and signals


def beside(loop, *functions):
    """Turn *loop* while other threads call *functions*."""

    def calls(function):
        for _ in range(20):
            try:
                function()
            except BaseException as error:
                say_what_must_not_be(error)

    threads = [threading.Thread(target=calls, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for _ in range(5):
        call(0, lambda: turn(loop))
    for thread in threads:
        thread.join(1)


def interrupted(delay_s, function):
    """Call *function* and interrupt it *delay_s* later."""
    signal.setitimer(signal.ITIMER_REAL, delay_s, PATIENCE_S)
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)


# Objects that lie or come back


def cancel_all():
    for thing in every((asyncio.Future, asyncio.Handle)):
        call(0, thing.cancel)


def close_all():
    for thing in v[:]:
        if is_a(thing, (asyncio.AbstractEventLoop, asyncio.BaseTransport, socket.socket)) or hasattr(
            type(thing), "throw"
        ):
            call(0, thing.close)


def drop_all():
    v[:] = [None] * len(v)


def turn_all():
    for loop in every(asyncio.AbstractEventLoop):
        call(0, lambda: turn(loop))


def call_soon_all():
    for loop in every(asyncio.AbstractEventLoop):
        call(0, lambda: loop.call_soon(nothing))


def resize_all():
    for thing in every(bytearray):
        call(0, thing.clear)


def abort_all():
    for thing in every(asyncio.BaseTransport):
        call(0, thing.abort)


def write_all():
    for thing in every(asyncio.BaseTransport):
        call(0, lambda: thing.write(bytes(100_000)))


def throw_all():
    for thing in v[:]:
        if hasattr(type(thing), "throw"):
            call(0, lambda: thing.throw(ValueError))


def send_all():
    for thing in v[:]:
        if hasattr(type(thing), "send") and not is_a(thing, socket.socket):
            call(0, lambda: thing.send(None))


def init_all():
    for thing in v[:]:
        # `_asyncio` crashes when a task's second __init__ fails.
        if type(thing).__module__.partition(".")[0] in ("ferrio", "_asyncio") and not is_a(thing, asyncio.Task):
            call(0, lambda: thing.__init__())


def resolve_all():
    for thing in every(asyncio.Future):
        call(0, lambda: thing.set_result(None))


def raise_value_error():
    raise ValueError("hostile")


def raise_cancelled():
    raise asyncio.CancelledError


def raise_exit():
    raise GeneratorExit


DEEDS = {
    "nothing": lambda: None,
    "raise": raise_value_error,
    "cancelled": raise_cancelled,
    "interrupt": interrupting,
    "exit": raise_exit,
    "cancel": cancel_all,
    "close": close_all,
    "drop": drop_all,
    "turn": turn_all,
    "soon": call_soon_all,
    "resize": resize_all,
    "abort": abort_all,
    "write": write_all,
    "throw": throw_all,
    "send": send_all,
    "init": init_all,
    "resolve": resolve_all,
    "collect": gc.collect,
    "signal": signalling,
}


def act(deed):
    """Do *deed*, unless this program has done enough or is within another two."""
    global deeds_left, depth
    if deeds_left <= 0 or depth >= 2:
        return
    deeds_left -= 1
    depth += 1
    try:
        DEEDS[deed]()
    finally:
        depth -= 1


class Hostile:
    """Does *deed* in every special method and then gives *answer*, of whatever type."""

    def __init__(self, deed, answer=None):
        self.deed = deed
        self.answer = answer

    def _answers(self, *args, **kwargs):
        act(self.deed)
        return self.answer

    __bool__ = __index__ = __int__ = __float__ = __len__ = __iter__ = __next__ = __await__ = __call__ = _answers
    __aenter__ = __aexit__ = __aiter__ = __anext__ = __enter__ = __exit__ = __contains__ = __getitem__ = _answers
    __repr__ = __str__ = __format__ = __bytes__ = __fspath__ = __eq__ = __lt__ = __gt__ = __hash__ = _answers
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __or__ = __get__ = __set__ = __set_name__ = _answers
    __buffer__ = __reduce__ = __copy__ = __deepcopy__ = __getnewargs__ = __length_hint__ = _answers
    send = throw = close = fileno = cancel = cancelled = done = result = exception = write = acquire = release = (
        _answers
    )
    add_done_callback = remove_done_callback = get_loop = getsockname = call_soon = create_future = locked = _answers

    def __del__(self):
        act(self.deed)


class Open:
    """Does *deed* when an attribute is asked for that it has not, and then has it."""

    def __init__(self, deed, answer=None):
        self.__dict__.update(deed=deed, answer=answer)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        act(self.deed)
        return self.answer

    def __setattr__(self, name, value):
        act(self.deed)


class Lying:
    """Says that it is of another class."""

    def __init__(self, kind):
        object.__setattr__(self, "kind", kind)

    @property
    def __class__(self):
        return object.__getattribute__(self, "kind")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return nothing

    def __hash__(self):
        return 1


class DropsLater:
    """Does *deed* when it is freed."""

    def __init__(self, deed):
        self.deed = deed

    def __del__(self):
        act(self.deed)

    def __call__(self, *args):
        return self


class OddStr(str):
    def __eq__(self, other):
        act("soon")
        return True

    def __hash__(self):
        act("collect")
        return hash("x")


class OddInt(int):
    def __index__(self):
        act("drop")
        return 3

    def __bool__(self):
        act("cancel")
        return True

    def __lt__(self, other):
        act("turn")
        return True

    def __add__(self, other):
        act("drop")
        return self


class OddFloat(float):
    def __float__(self):
        act("turn")
        return self

    def __add__(self, other):
        act("close")
        return "no number"

    __radd__ = __add__


class OddBytes(bytes):
    def __len__(self):
        act("drop")
        return 1 << 40

    def __bool__(self):
        act("close")
        return False


class OddBuffer(bytearray):
    """A buffer with attributes, so that it can be part of a cycle."""


class OddTuple(tuple):
    def __len__(self):
        return 1 << 30

    def __getitem__(self, index):
        act("drop")
        return super().__getitem__(index)


class OddError(Exception):
    def __init__(self, *args):
        act("turn")
        super().__init__(*args)

    def __del__(self):
        act("soon")


class OddMeta(type):
    def __instancecheck__(self, thing):
        act("drop")
        return True

    def __call__(self, *args, **kwargs):
        act("close")
        return 3


class OddClass(metaclass=OddMeta):
    pass


class OddFuture(asyncio.Future):
    """A future whose methods do something else."""

    def add_done_callback(self, callback, *, context=None):
        act("drop")
        return super().add_done_callback(callback, context=context)

    def __iter__(self):
        act("resolve")
        yield self

    __await__ = __iter__

    def cancel(self, msg=None):
        act("turn")
        return super().cancel(msg)


class NativeFuture(native.Future):
    """A subclass with a dictionary."""


class NativeTask(native.Task):
    """A subclass with a dictionary."""


class ForeignFuture:
    """A future of another library: what asyncio asks a future for, no more."""

    _asyncio_future_blocking = True

    def __init__(self, loop):
        self.loop = loop
        self.callbacks = []

    def get_loop(self):
        return self.loop

    def add_done_callback(self, callback, *, context=None):
        self.callbacks.append(callback)

    def remove_done_callback(self, callback):
        return len(self.callbacks)

    def cancel(self, msg=None):
        for callback in self.callbacks:
            self.loop.call_soon(callback, self)

    def cancelled(self):
        return False

    def done(self):
        return True

    def exception(self):
        return None

    def result(self):
        act("drop")
        return 7

    def __await__(self):
        yield self
        return 7


def dead_reference():
    return weakref.ref(Hostile("nothing"))


def cycle():
    """A list that leads back to itself and to the program's variables."""
    around = list(v)
    around.append(around)
    return around


def subclass(kind):
    return type(
        "Sub" + kind.__name__, (kind,), {"__slots__": ("a", "__weakref__"), "__del__": lambda self: act("soon")}
    )


def lurking(number):
    """One of the loop's own objects that the collector shows."""
    found = [
        thing
        for thing in gc.get_objects()
        if type(thing).__module__ in ("ferrio", "ferrio._ferrio")
        or type(thing).__name__ in ("Coroutine", "SocketOperation")
    ]
    return found[number % len(found)] if found else None


def patched(thing, name, value, function):
    """Call *function* while the attribute *name* of *thing* is *value*."""
    missing = object()
    before = vars(thing).get(name, missing)
    setattr(thing, name, value)
    try:
        return function()
    finally:
        if before is missing:
            delattr(thing, name)
        else:
            setattr(thing, name, before)


def await_once(awaitable):
    iterator = awaitable.__await__()
    return iterator.send(None)


#: Empties the interpreter's caches; the name it has since CPython 3.13, and the one before.
clear_caches = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def counts():
    """What a process holds: memory blocks, objects that the collector knows, descriptors."""
    # The cache of attributes' owners keeps the names that it was asked for, by chance more from pass to pass.
    clear_caches()
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks(), len(gc.get_objects()), len(os.listdir("/proc/self/fd"))


def fill_free_lists(most=1100):
    """Make and drop more objects than the lists of freed memory keep, so that these grow no more."""
    loop = new_loop()
    one, other = socket.socketpair()
    one.setblocking(False)
    held = [[], [], [], [], [], [], []]
    for _ in range(most):
        held[0].append(loop.create_future())
        held[1].append(aio.sleep(0))
        held[2].append(loop.sock_recv(one, 1))
        held[3].append(loop.create_task(work()))
        held[4].append(loop.call_soon(nothing))
        held[5].append(loop.call_later(0, nothing))
        held[6].append(loop.call_soon_threadsafe(nothing))
    turn(loop)
    turn(loop)
    for coroutine in held[2]:
        coroutine.close()
    loop.close()
    one.close()
    other.close()


def grows(program, blocks_allowed=3, passes=7, further_passes=8):
    """Run *program* again and again, and tell if each pass but the first ones leaves more behind.

    After *passes* most programs are seen not to; the rest must grow in each of *further_passes* as well.
    """
    # Of a fixed size, since what it grew by would be counted.
    seen = array.array("q", bytes(8 * 3 * (passes + further_passes)))
    # Growth of so many blocks is the interpreter's own caches.
    suspects = [(2, "descriptors", 0), (1, "objects", 0), (0, "blocks", blocks_allowed)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    fill_free_lists()
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)
    for number in range(passes + further_passes):
        program()
        signal.setitimer(signal.ITIMER_REAL, 0)
        seen[3 * number], seen[3 * number + 1], seen[3 * number + 2] = counts()
        if number > passes - 4:
            suspects = [one for one in suspects if seen[3 * number + one[0]] - seen[3 * number - 3 + one[0]] > one[2]]
        if not suspects:
            return
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)
    for index, name, _ in suspects:
        last = seen[index::3][passes - 4 :]
        steps = [after - before for before, after in itertools.pairwise(last)]
        os.write(2, f"GROWS: {name} by {steps} to {last[-1]} in the last passes\n".encode())


def finish():
    """What a program ends with: nothing of it is left."""
    global deeds_left
    loops = every(asyncio.AbstractEventLoop)
    deeds_left = 0
    for loop in loops:
        try:
            turn(loop)
            loop.close()
        except BaseException as error:
            say_what_must_not_be(error)
    loops = loop = None
    drop_all()
    # What `_run_forever_setup` leaves when nothing ends what it begins.
    sys.set_asyncgen_hooks(None, None)
    # What a loop that was dropped with a signal handler leaves: interrupts would be written to what gets its number.
    signal.set_wakeup_fd(-1)
    asyncio._set_running_loop(None)
    deeds_left = 300
