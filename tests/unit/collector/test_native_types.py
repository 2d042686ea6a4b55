"""Every native type: instances show the collector what they hold, release it, and leave nothing to the next one."""

import asyncio
import gc
import sys
import types
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import ferrio.asyncio
from ferrio import _ferrio

from ..loops import ferrio_only, new_loop
from ..memory import grown
from .native_types import KINDS, Kind, Token, Way, World, aio, filled, slots_of

pytestmark = ferrio_only

#: Types whose instances cost descriptors or threads.
LARGE = {"LoopCore", "StreamTransport", "DatagramTransport", "Connection", "Inspector", "Watchdog"}

USED = {name: kind for name, kind in KINDS.items() if kind.is_used}


def ways_of(name: str, kind: Kind) -> dict[str, Way]:
    """The ways in the table, and the slots that the type inherits from Python classes."""
    class_ = getattr(_ferrio, name, None)
    slots = slots_of(class_) if isinstance(class_, type) else ()
    return kind.ways | {f"slot {slot}": filled(kind, descriptor) for slot, descriptor in slots}


WAYS = [
    pytest.param(kind, way, id=f"{name}, {how}")
    for name, kind in USED.items()
    for how, way in ways_of(name, kind).items()
]


@pytest.fixture
def world() -> Iterator[World]:
    with warnings.catch_warnings():
        # Transports and loops that are dropped unclosed, coroutines that nobody awaits.
        warnings.simplefilter("ignore")
        loop = new_loop()
        world = World(loop)
        yield world
        world.close()
        if not loop.is_closed():
            loop.close()
        gc.collect()


def shown_by(instance: Any) -> Iterator[Any]:
    """The objects that the collector reaches from *instance*, except those that the whole program shares."""
    seen = {id(instance)}
    left = [instance]
    while left:
        each = left.pop()
        if isinstance(each, types.FunctionType):
            found: list[Any] = [each.__closure__, vars(each)]
        else:
            found = gc.get_referents(each)
        for referent in found:
            if id(referent) in seen or isinstance(referent, types.ModuleType | types.CodeType):
                continue
            if isinstance(referent, type) and "token" not in vars(referent):
                continue
            if isinstance(referent, dict) and "__builtins__" in referent:
                continue
            seen.add(id(referent))
            left.append(referent)
            yield referent


def test_the_table_names_every_native_type(world: World) -> None:
    exported = {name for name, value in vars(_ferrio).items() if isinstance(value, type) and name != "SOCKET"}
    if not _ferrio.HAS_NATIVE_TASKS:
        exported -= {"Future", "Task"}
    assert set(KINDS) == exported | {"_AsCompletedIterator"}


@pytest.mark.parametrize("name", USED)
def test_an_instance_is_of_the_type_that_it_stands_for(name: str, world: World) -> None:
    instance = USED[name].make(world)
    assert name in {each.__name__ for each in type(instance).__mro__}
    assert gc.is_tracked(instance)


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_an_instance_in_a_cycle_is_collected(kind: Kind, way: Way, world: World) -> None:
    ended: list[str] = []
    token = Token(ended)
    gone = weakref.ref(token)
    instance = way(world, token)
    assert any(each is token for each in shown_by(instance)), "the collector does not see what is held"
    token.held = instance
    del instance, token
    gc.collect()
    gc.collect()
    assert gone() is None
    assert ended == ["ended"]


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_what_an_instance_held_ends_with_it(kind: Kind, way: Way, world: World) -> None:
    way(world, Token([]))
    gc.collect()
    token = Token([])
    before = sys.getrefcount(token)
    for _ in range(20):
        way(world, token)
    gc.collect()
    assert sys.getrefcount(token) == before


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_the_next_instance_shows_nothing_of_the_last(kind: Kind, way: Way, world: World) -> None:
    token = Token([])
    last = []
    for _ in range(3):
        instance = way(world, token)
        if type(instance).__weakrefoffset__:
            last.append(weakref.ref(instance))
    del instance
    gc.collect()
    for _ in range(3):
        instance = kind.make(world)
        assert not any(reference() for reference in last)
        assert not any(each is token for each in gc.get_referents(instance))
        assert not any(getattr(instance, name, None) is token for name in dir(instance))
        assert "note" not in getattr(instance, "__dict__", {})


@pytest.mark.parametrize("name", USED)
def test_an_attribute_that_takes_any_object_shows_it(name: str, world: World) -> None:
    kind = USED[name]
    instance = kind.make(world)
    token = Token([])
    gone = weakref.ref(token)
    holding = set()
    for class_ in type(instance).__mro__:
        for attribute, value in vars(class_).items():
            if attribute.startswith("__") or not isinstance(value, types.GetSetDescriptorType):
                continue
            before = sys.getrefcount(token)
            try:
                setattr(instance, attribute, token)
            except (AttributeError, TypeError, ValueError):
                continue
            if sys.getrefcount(token) > before:
                holding.add(attribute)
                assert any(each is token for each in gc.get_referents(instance)), attribute
    assert holding - {"_when"} == kind.attributes - {"_when"}
    token.held = instance
    del instance, token
    gc.collect()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", USED)
def test_a_thousand_instances_leave_nothing(name: str, world: World) -> None:
    make = USED[name].make
    # What opens descriptors takes its time.
    times = 200 if name in LARGE else 1000

    def make_one() -> None:
        make(world)

    def tracked() -> int:
        gc.collect()
        return len(gc.get_objects())

    make_one()
    before = tracked()
    # The interpreter keeps some memory for later, now more and now less of it.
    assert min(grown(make_one, times) for _ in range(3)) < times / 10
    # A few cancelled timers stay until there are more of them.
    assert tracked() - before < 100


def test_no_instance_that_waits_for_its_next_use_is_shown(world: World) -> None:
    """What the collector lists a program can use: nothing that belongs to nobody may be there."""

    async def use_many() -> None:
        locks = [aio.Lock() for _ in range(100)]
        for lock in locks:
            async with lock:
                await asyncio.gather(*(aio.sleep(0.001) for _ in range(3)))

    world.loop.run_until_complete(use_many())
    gc.collect()
    kept = (_ferrio.Coroutine, _ferrio.FutureIter, _ferrio.SocketOperation, _ferrio.TimerHandle, _ferrio.Task)
    assert not [each for each in gc.get_objects() if type(each) in kept]


def test_a_coroutine_that_was_found_idle_ends_nobodys_sleep(world: World) -> None:
    async def main() -> str:
        await aio.sleep(0.001)
        found = [each for each in gc.get_objects() if type(each) is _ferrio.Coroutine]
        sleeping = asyncio.ensure_future(ferrio.asyncio.sleep(0.01, "slept"))
        await asyncio.sleep(0)
        for each in found:
            each.close()
        return await sleeping

    assert world.loop.run_until_complete(main()) == "slept"
