"""What ``await`` asks of a future or task: it answers as asyncio's does."""

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferrio.asyncio
from ferrio import _ferrio

from ..loops import ferrio_only, run

State = Callable[[Any], object]

#: How a future stands when its iterator is asked.
STATES: dict[str, State] = {
    "pending": lambda future: None,
    "None": lambda future: future.set_result(None),
    "a value": lambda future: future.set_result(7),
    "a tuple": lambda future: future.set_result((1, 2)),
    "an exception as a value": lambda future: future.set_result(ValueError("value")),
    "failed": lambda future: future.set_exception(ValueError("failed")),
    "cancelled": lambda future: future.cancel("message"),
}

#: What is done with the iterator, and then it is asked for the next once more.
DEEDS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda iterator: None,
    "next": next,
    "send": lambda iterator: iterator.send("ignored"),
    "close": lambda iterator: iterator.close(),
    "throw an exception": lambda iterator: iterator.throw(KeyError("thrown")),
    "throw a class": lambda iterator: iterator.throw(TypeError),
    "throw a class and a value": lambda iterator: iterator.throw(KeyError, KeyError("thrown")),
    "throw three": lambda iterator: iterator.throw(KeyError, KeyError("thrown"), None),
    "throw what is no traceback": lambda iterator: iterator.throw(KeyError, KeyError("thrown"), 32),
    "throw an exception and a value": lambda iterator: iterator.throw(KeyError("one"), KeyError("two")),
    "throw what is no exception": lambda iterator: iterator.throw(list),
    "throw nothing": lambda iterator: iterator.throw(),
}


def outcome(deed: Callable[[Any], object], iterator: Any, future: Any) -> str:
    """What comes of it, in words that are the same for every future."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            result = deed(iterator)
            said = "the future" if result is future else repr(result)
        except StopIteration as error:
            # Whether None is an argument of it depends on the version, and on who tells it.
            said = f"StopIteration of {error.value!r}"
        except BaseException as error:
            said = repr(error)
    return " ".join([said, *(f"{each.category.__name__}: {each.message}" for each in warned)])


@ferrio_only
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("state", STATES)
def test_an_iterator_answers_as_asyncios(loop: asyncio.AbstractEventLoop, state: str, deed: str) -> None:
    courses = []
    for future in (loop.create_future(), asyncio.Future(loop=loop)):
        STATES[state](future)
        iterator: Any = future.__await__()
        assert iter(iterator) is iterator
        courses.append([outcome(each, iterator, future) for each in (DEEDS[deed], next)])
        if future.done() and not future.cancelled():
            future.exception()
    assert courses[0] == courses[1]


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("value", [None, 0, (), (1, 2), ValueError("value"), StopIteration, StopIteration(3)], ids=repr)
def test_any_value_comes_out_of_an_await(loop: asyncio.AbstractEventLoop, value: Any, is_done: bool) -> None:
    async def main() -> None:
        future = loop.create_future()
        if is_done:
            future.set_result(value)
        else:
            loop.call_soon(future.set_result, value)
        assert await future is value

    run(loop, main())


@ferrio_only
def test_a_derived_class_has_its_own_way_only_in_await(loop: asyncio.AbstractEventLoop) -> None:
    class Doubled(ferrio.Future):  # type: ignore[type-arg]
        def result(self) -> Any:
            raise AssertionError("asyncio's iterator does not ask it")

    class Awaited(ferrio.Future):  # type: ignore[type-arg]
        def __await__(self) -> Any:
            return iter(["not a future"])

    async def main() -> None:
        future = Doubled(loop=loop)
        future.set_result(7)
        assert await future == 7
        with pytest.raises(RuntimeError, match="Task got bad yield"):
            await Awaited(loop=loop)

    run(loop, main())


@ferrio_only
def test_two_awaits_of_one_future_are_both_answered(loop: asyncio.AbstractEventLoop) -> None:
    async def wait(future: Any) -> Any:
        return await future

    async def main() -> None:
        future = loop.create_future()
        waiting = [loop.create_task(wait(future)) for _ in range(100)]
        await asyncio.sleep(0)
        future.set_result("for all")
        assert await asyncio.gather(*waiting) == ["for all"] * 100

    run(loop, main())


@ferrio_only
def test_an_iterator_that_has_ended_holds_no_future(loop: asyncio.AbstractEventLoop) -> None:
    class Held(ferrio.Future):  # type: ignore[type-arg]
        pass

    def throw(iterator: Any) -> None:
        with pytest.raises(KeyError):
            iterator.throw(KeyError("thrown"))

    ends: list[Callable[[Any], object]] = [throw, lambda iterator: iterator.close()]
    if sys.version_info < (3, 14):
        # From 3.14 on asyncio's repeats its answer.
        ends.append(lambda iterator: next(iterator, "end"))
    for end in ends:
        future = Held(loop=loop)
        future.set_result(None)
        gone, iterator = weakref.ref(future), future.__await__()
        end(iterator)
        del future
        gc.collect()
        assert gone() is None
        assert next(iterator, "end") == "end"


@ferrio_only
def test_wait_for_awaits_futures_and_tasks_itself(loop: asyncio.AbstractEventLoop) -> None:
    async def come_to(value: int) -> int:
        return value

    async def main() -> None:
        for awaitable in (loop.create_future(), asyncio.Future(loop=loop), loop.create_task(come_to(7))):
            if not isinstance(awaitable, asyncio.Task):
                loop.call_soon(awaitable.set_result, 7)
            waiting = ferrio.asyncio.wait_for(awaitable, 5)
            # On 3.11 it is asyncio's.
            assert type(waiting) is _ferrio.Coroutine or sys.version_info < (3, 12)
            assert await waiting == 7

    run(loop, main())
