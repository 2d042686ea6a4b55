"""Numbers of other types than asyncio's documentation names: taken, or refused, as by asyncio's own methods."""

import asyncio
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

import ferrio.asyncio

from .connections import connect
from .loops import ferrio_only

Loop = asyncio.AbstractEventLoop


def outcome(call: Callable[[], object]) -> tuple[Any, ...]:
    """The result of a call, or its exception."""
    try:
        return "returned", call()
    except Exception as error:
        return type(error), error.args


@pytest.mark.parametrize("delay", ["1", b"", [], 10**400, None, object, Fraction(1, 100), True])
def test_a_delay_is_added_as_in_asyncio(loop: Loop, delay: Any) -> None:
    def schedule(on: Loop) -> None:
        on.call_later(delay, int).cancel()

    beside = asyncio.SelectorEventLoop()
    assert outcome(lambda: schedule(loop)) == outcome(lambda: schedule(beside))
    beside.close()


def limits_after(transport: Any, high: Any, low: Any) -> tuple[int, ...]:
    transport.set_write_buffer_limits(high, low)
    return tuple(map(int, transport.get_write_buffer_limits()))


@pytest.mark.parametrize(
    ("high", "low"),
    [
        (1e6, None),
        (None, 1e3),
        (1000.5, 10.5),
        (float("nan"), None),
        (5.0, 10.0),
        (1.0, -1.0),
        ("x", None),
        (None, "x"),
    ],
)
def test_limits_of_writing_may_be_any_numbers(loop: Loop, high: Any, low: Any) -> None:
    beside = asyncio.SelectorEventLoop()
    theirs, ours = connect(beside), connect(loop)
    expected = outcome(lambda: limits_after(theirs.transport, high, low))
    assert outcome(lambda: limits_after(ours.transport, high, low)) == expected
    theirs.end()
    ours.end()
    beside.close()


class File:
    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        if isinstance(self.number, Exception):
            raise self.number
        return self.number


@pytest.mark.parametrize("number", [-1.5, "x", None, 10**20, ValueError("no number"), OSError("no file")])
def test_the_number_of_a_file_is_judged_as_in_asyncio(loop: Loop, number: Any) -> None:
    file: Any = File(number)
    beside = asyncio.SelectorEventLoop()

    def words(on: Loop, call: Callable[[Loop], object]) -> tuple[Any, ...]:
        return outcome(lambda: call(on))

    for call in (lambda on: on.add_reader(file, print), lambda on: on.remove_reader(file)):
        assert words(loop, call) == words(beside, call)
    beside.close()


def test_the_number_of_a_file_may_be_any_number(loop: Loop) -> None:
    read, write = os.pipe()
    file: Any = File(read + 0.5)
    loop.add_reader(file, print)
    assert loop.remove_reader(read)
    os.close(read)
    os.close(write)


@ferrio_only
def test_a_native_coroutine_without_a_result_ends_as_any_other() -> None:
    with pytest.raises(StopIteration) as caught:
        ferrio.asyncio.Lock().__aenter__().send(None)
    assert caught.value.args == ()
    assert caught.value.value is None
