"""Copies, pickles, weak references and attributes of primitives and functions: as of asyncio's."""

import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio.asyncio
from ferrio._namespace import PRIMITIVES

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def empty(namespace: Any, name: str) -> Any:
    return getattr(namespace, name)(*{"Barrier": [2], "Timeout": [None]}.get(name, []))


def used(namespace: Any, name: str) -> Any:
    primitive = empty(namespace, name)
    primitive.note = "theirs"
    match name:
        case "Lock" | "Semaphore" | "BoundedSemaphore":
            with pytest.raises(StopIteration):
                primitive.acquire().send(None)
        case "Event":
            primitive.set()
        case "Queue" | "LifoQueue" | "PriorityQueue":
            primitive.put_nowait([2])
            primitive.put_nowait([1])
            primitive.get_nowait()
    return primitive


#: Streams, which belong to a loop and a connection, have tests of their own.
CLASSES = [
    primitive.name
    for primitive in PRIMITIVES
    if isinstance(primitive.ours, type) and not primitive.name.startswith("Stream")
]
FUNCTIONS = [primitive.name for primitive in PRIMITIVES if not isinstance(primitive.ours, type)]

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {number}": lambda x, number=number: pickle.loads(pickle.dumps(x, number)) for number in PROTOCOLS},
}


def shown(value: Any) -> Any:
    """A state in which objects are replaced by the names of their classes and their own states."""
    if inspect.ismethod(value):
        return value.__name__
    if isinstance(value, (asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.Queue)):
        return type(value).__name__, {name: shown(part) for name, part in value.__reduce_ex__(2)[2].items()}
    return value


@pytest.mark.parametrize("make", [empty, used])
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_state_that_asyncios_has(make: Callable[..., Any], name: str, way: str) -> None:
    states = []
    for namespace in (asyncio, ferrio.asyncio):
        primitive = make(namespace, name)
        copied = WAYS[way](primitive)
        assert type(copied) is type(primitive)
        assert copied is not primitive
        state = copied.__reduce_ex__(2)[2]
        states.append({key: shown(value) for key, value in state.items()})
    assert states[0] == states[1]


def test_a_copied_queue_goes_on_with_its_items_and_a_deep_copy_is_apart() -> None:
    queue = ferrio.asyncio.PriorityQueue(3)
    for item in (3, 1, 2):
        queue.put_nowait(item)
    apart = copy.deepcopy(queue)
    assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]
    assert apart.full()
    assert [apart.get_nowait() for _ in range(3)] == [1, 2, 3]
    for _ in range(3):
        apart.task_done()
    with pytest.raises(ValueError, match="too many times"):
        apart.task_done()
    assert apart._finished.is_set()
    assert not queue._finished.is_set()


def test_a_copied_condition_has_the_copied_lock() -> None:
    condition = copy.deepcopy(ferrio.asyncio.Condition())

    async def main() -> None:
        async with condition:
            assert condition.locked()
            assert condition._lock.locked()
            condition.notify_all()
        assert not condition.locked()

    ferrio.run(main())


@pytest.mark.parametrize("namespace", [asyncio, ferrio.asyncio], ids=["asyncio", "ferrio"])
def test_what_somebody_waits_for_cannot_be_copied_deeply(namespace: Any) -> None:
    async def main() -> None:
        event = namespace.Event()
        waits = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        with pytest.raises(TypeError, match="cannot pickle"):
            copy.deepcopy(event)
        assert copy.copy(event)._waiters is event._waiters
        event.set()
        await waits

    ferrio.run(main())


class Slotted(ferrio.asyncio.Lock):
    __slots__ = ("theirs",)


class WithState(ferrio.asyncio.Event):
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "more": 1}


def test_a_subclass_is_copied_with_what_is_its_own() -> None:
    lock = Slotted()
    lock.theirs, lock.other = 1, 2
    for way in WAYS.values():
        copied = way(lock)
        assert (type(copied), copied.theirs, copied.other) == (Slotted, 1, 2)
    event = WithState()
    event.set()
    copied = pickle.loads(pickle.dumps(event))
    assert copied.is_set()
    assert copied.more == 1


def test_dataclasses_with_primitives_become_dictionaries() -> None:
    @dataclasses.dataclass
    class Holder:
        lock: Any = dataclasses.field(default_factory=ferrio.asyncio.Lock)
        queue: Any = dataclasses.field(default_factory=ferrio.asyncio.Queue)
        wait: Any = ferrio.asyncio.sleep

    shown = dataclasses.asdict(Holder())
    assert shown["wait"] is ferrio.asyncio.sleep
    assert isinstance(shown["lock"], ferrio.asyncio.Lock)
    assert shown["queue"].empty()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_copied_function_is_that_function(name: str, way: str) -> None:
    function = getattr(ferrio.asyncio, name)
    assert WAYS[way](function) is function


def methods() -> list[Any]:
    found = []
    for name in CLASSES:
        for method in vars(getattr(ferrio.asyncio, name)).values():
            if type(method).__name__ in ("Function", "CoroutineFunction"):
                found.append(pytest.param(getattr(ferrio.asyncio, name), method, id=f"{name}.{method.__name__}"))
    return found


@pytest.mark.parametrize(("owner", "method"), methods())
def test_a_copied_method_is_that_method(owner: type, method: Any) -> None:
    for protocol in PROTOCOLS:
        assert pickle.loads(pickle.dumps(method, protocol)) is method
    assert copy.deepcopy(method) is method
    bound = copy.deepcopy(method.__get__(empty(ferrio.asyncio, owner.__name__)))
    assert bound.__func__ is method
    assert type(bound.__self__) is owner


def test_after_install_functions_are_pickled_by_asyncios_names() -> None:
    code = """
        import asyncio, pickle, ferrio
        before = {name: pickle.dumps(getattr(asyncio, name)) for name in NAMES}
        ferrio.install()
        for name, data in before.items():
            assert pickle.loads(data) is getattr(asyncio, name), name
            assert pickle.dumps(getattr(asyncio, name)) == data, name
        method = asyncio.Queue.put
        assert pickle.loads(pickle.dumps(method)) is method
        assert b"ferrio" not in pickle.dumps(method)
    """
    code = inspect.cleandoc(code).replace("NAMES", repr(FUNCTIONS))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_weak_references(name: str) -> None:
    function = getattr(ferrio.asyncio, name)
    assert weakref.ref(function)() is function


def test_a_weak_reference_to_a_function_ends_with_it() -> None:
    from ferrio import _ferrio

    function = _ferrio.Function("gather", asyncio.gather)
    function.itself = function
    ended: list[object] = []
    reference = weakref.ref(function, ended.append)
    del function
    gc.collect()
    assert reference() is None
    assert ended == [reference]


def plain_methods() -> list[Any]:
    """The methods that are plain functions in asyncio, of the classes that Ferrio replaces."""
    found = []
    for name in CLASSES:
        for method in dir(getattr(asyncio, name)):
            if method != "__init__" and inspect.isfunction(inspect.getattr_static(getattr(asyncio, name), method)):
                found.append(pytest.param(name, method, id=f"{name}.{method}"))
    return found


@pytest.mark.parametrize(("name", "method"), plain_methods())
def test_every_method_of_a_primitive_is_one_to_weak_references(name: str, method: str) -> None:
    primitive = empty(ferrio.asyncio, name)
    bound = getattr(primitive, method)
    if isinstance(bound, functools.partial) or bound.__self__ is not primitive:
        return
    assert inspect.ismethod(bound)
    reference = weakref.WeakMethod(bound)
    assert reference() == bound
    del primitive, bound
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("is_run", [False, True])
def test_a_coroutine_takes_weak_references_which_end_with_it(is_run: bool) -> None:
    ended: list[object] = []
    references = []
    for _ in range(100):
        coroutine = ferrio.asyncio.sleep(0)
        reference = weakref.ref(coroutine, ended.append)
        assert reference() is coroutine
        if is_run:
            assert list(coroutine.__await__()) == [None]
        else:
            coroutine.close()
        del coroutine
        assert reference() is None
        references.append(reference)
    # Their memory has been used again; the next has none of their references.
    assert ended == references
    coroutine = ferrio.asyncio.sleep(0)
    assert weakref.getweakrefcount(coroutine) == 0
    coroutine.close()


COLLECTS_IN_WEAK_REFERENCES = """
import gc, socket, weakref
import ferrio
from ferrio import asyncio

def native(name):
    return {
        "a coroutine": lambda: asyncio.sleep(0.001),
        "a function's coroutine": lambda: asyncio.wait_for(asyncio.sleep(0), 1),
        "a socket's operation": lambda: loop.sock_sendall(ours, b""),
        "a handle": lambda: loop.call_soon(int),
        "a timer": lambda: loop.call_later(0, int),
        "a handle for threads": lambda: loop.call_soon_threadsafe(int),
        "a future": loop.create_future,
        "a task": lambda: loop.create_task(asyncio.sleep(0)),
        "a gathering": lambda: asyncio.gather(asyncio.sleep(0)),
        "a queue": asyncio.Queue,
        "a lock": asyncio.Lock,
        "a group": asyncio.TaskGroup,
        "a timeout": lambda: asyncio.timeout(1),
    }[name]()

async def main(name):
    ended = []
    for _ in range(30):
        # Young ones and old ones: the collector looks at each generation in its own way.
        for age in range(2):
            made = native(name)
            if age:
                gc.collect()
            references = weakref.ref(made, lambda _: (ended.append(1), gc.collect()))
            if asyncio.iscoroutine(made) or (asyncio.isfuture(made) and name != "a future"):
                await made
            del made
            await asyncio.sleep(0.001)
            gc.collect()
            assert references() is None
    assert len(ended) == 60, ended

loop = ferrio.new_event_loop()
ours, theirs = socket.socketpair()
ours.setblocking(False)
loop.run_until_complete(main({name!r}))
loop.close()
ours.close()
theirs.close()
"""


@pytest.mark.parametrize(
    "name",
    [
        *("a coroutine", "a function's coroutine", "a socket's operation", "a handle", "a timer"),
        *("a handle for threads", "a future", "a task", "a gathering", "a queue", "a lock", "a group", "a timeout"),
    ],
)
def test_the_end_of_a_weak_reference_may_collect(name: str) -> None:
    # A crash ends the process that it is tried in.
    program = COLLECTS_IN_WEAK_REFERENCES.replace("{name!r}", repr(name))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_coroutines_of_one_moment_take_weak_references_each() -> None:
    # More than are kept as whole objects.
    coroutines = [ferrio.asyncio.sleep(0) for _ in range(3000)]
    known = weakref.WeakSet(coroutines)
    assert len(known) == 3000
    for coroutine in coroutines:
        coroutine.close()
    del coroutine, coroutines[1000:]
    assert len(known) == 1000
    coroutines.clear()
    assert not known


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_attributes_and_gives_them_back(name: str) -> None:
    function, original = getattr(ferrio.asyncio, name), getattr(asyncio, name)
    about = ("__doc__", "__module__", "__name__", "__qualname__", "__annotations__")
    assert function.__dict__ == {}
    for attribute in about:
        assert getattr(function, attribute) == getattr(original, attribute)
    assert inspect.signature(function) == inspect.signature(original)
    assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(original)
    try:
        for attribute in ("mine", "__doc__", "__module__", "__name__", "__qualname__", "__signature__"):
            setattr(function, attribute, attribute.upper())
            assert getattr(function, attribute) == attribute.upper()
            assert not hasattr(original, attribute) or getattr(original, attribute) != attribute.upper()
            delattr(function, attribute)
            with pytest.raises(AttributeError):
                delattr(function, attribute)
        function.mine = 1

        @functools.wraps(function)
        def wrapper() -> None:
            """Not this."""

        assert wrapper.__doc__ == original.__doc__
        assert wrapper.__wrapped__ is function
        assert wrapper.mine == 1
        assert functools.partial(function).func is function
    finally:
        function.__dict__ = {}
    with pytest.raises(TypeError):
        function.__dict__ = 1


def test_a_function_in_a_class_body_is_what_it_was_elsewhere() -> None:
    class Api:
        sleep = ferrio.asyncio.sleep
        gather = ferrio.asyncio.gather

    elsewhere = ferrio.asyncio.sleep(0)
    assert type(elsewhere).__name__ == "Coroutine"
    elsewhere.close()
    with pytest.raises(TypeError):
        ferrio.run(Api().sleep(0))
    with pytest.raises(TypeError):
        ferrio.run(as_coroutine(Api().gather))


async def as_coroutine(function: Callable[[], Any]) -> Any:
    return await function()
