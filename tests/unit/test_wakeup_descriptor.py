"""After a run, the process has its former wake-up descriptor, wherever an exit occurred."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

import ferrio
from ferrio import _ferrio

from .loops import ferrio_only, turn

pytestmark = ferrio_only

#: The frames in which something about the descriptor may be half done.
WATCHED = {
    "run_forever",
    "_signal_descriptor",
    "_signal_pair",
    "add_signal_handler",
    "remove_signal_handler",
    "_take_previous_wakeup_fd",
}


@pytest.fixture
def _none_is_left() -> Iterator[None]:
    assert _ferrio._wakeup_descriptor() == -1
    yield
    _ferrio._restore_wakeup_descriptor(-1)


@pytest.fixture(params=["none", "open", "closed"])
def former(request: pytest.FixtureRequest, _none_is_left: None) -> Iterator[int]:
    """A wake-up descriptor that another library has set, and may have closed without removing it."""
    if request.param == "none":
        yield -1
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # No descriptor of the test's gets this number once it is closed.
    number = os.dup2(writing, 900, inheritable=False)
    signal.set_wakeup_fd(number)
    os.close(writing)
    if request.param == "closed":
        os.close(number)
        os.close(reading)
    yield number
    if request.param == "open":
        os.close(number)
        os.close(reading)


def test_a_run_leaves_the_descriptor_that_was_set_and_fails_for_none(former: int) -> None:
    seen: list[int] = []
    for _ in range(2):
        loop = ferrio.Loop()
        loop.call_soon(lambda: seen.append(_ferrio._wakeup_descriptor()))
        turn(loop)
        assert _ferrio._wakeup_descriptor() == former
        loop.close()
        assert _ferrio._wakeup_descriptor() == former
    assert former == -1 or seen == [former, former]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_run_that_an_exit_ends_leaves_the_descriptor_that_was_set(
    former: int, exception: type[BaseException]
) -> None:
    async def main() -> None:
        raise exception

    loop = ferrio.Loop()
    with pytest.raises(exception):
        loop.run_until_complete(main())
    assert _ferrio._wakeup_descriptor() == former
    loop.close()


def test_a_handler_that_cannot_be_added_leaves_the_descriptor_that_was_set(former: int) -> None:
    loop = ferrio.Loop()
    for arguments, exception in [((signal.SIGKILL, int), RuntimeError), ((0, int), ValueError)]:
        with pytest.raises(exception):
            loop.add_signal_handler(*arguments)
        assert _ferrio._wakeup_descriptor() == former
    loop.close()
    assert _ferrio._wakeup_descriptor() == former


def test_with_the_last_handler_the_descriptor_that_was_set_comes_back(former: int) -> None:
    loop = ferrio.Loop()
    for end in (loop.remove_signal_handler, lambda _: loop.close()):
        loop.add_signal_handler(signal.SIGUSR1, int)
        assert _ferrio._wakeup_descriptor() == loop._csock.fileno()  # type: ignore[union-attr]
        end(signal.SIGUSR1)
        assert _ferrio._wakeup_descriptor() == former


class ExitAt:
    """Raises KeyboardInterrupt before the given bytecode, counted over the frames that are watched."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.has_raised = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_name not in WATCHED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.has_raised:
            self._left -= 1
            if self._left < 0:
                self.has_raised = True
                raise KeyboardInterrupt
        return self


def at_every_bytecode(program: Callable[[ferrio.Loop], object], check: Callable[[ferrio.Loop], object]) -> int:
    """Run *program* on a new loop with an exit at each bytecode in turn, and return the number of bytecodes."""
    for number in range(10_000):
        loop = ferrio.Loop()
        exit_at = ExitAt(number)
        tracer = sys.gettrace()
        # 3.12 instruments code for bytecodes when a tracer is set after a frame has asked for them: here, this one.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(exit_at)
        try:
            program(loop)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        # As in asyncio, an exit between its set-up and its own `try` leaves a loop that thinks it runs.
        asyncio.events._set_running_loop(None)
        loop._thread_id = None
        check(loop)
        loop.close()
        if not exit_at.has_raised:
            return number
    raise AssertionError("the program has no end")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_exit_at_any_bytecode_of_a_run_leaves_the_descriptor_that_was_set(former: int) -> None:
    def check(loop: ferrio.Loop) -> None:
        assert _ferrio._wakeup_descriptor() == former

    assert at_every_bytecode(turn, check) > 30


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_exit_at_any_bytecode_of_a_handlers_life_leaves_no_descriptor_of_a_closed_loop(former: int) -> None:
    def add_and_remove(loop: ferrio.Loop) -> None:
        loop.add_signal_handler(signal.SIGUSR1, int)
        turn(loop)
        loop.remove_signal_handler(signal.SIGUSR1)

    def check(loop: ferrio.Loop) -> None:
        ours = loop._csock
        loop.close()
        # An exit in the middle of removing can leave none, as every removal does in asyncio.
        assert _ferrio._wakeup_descriptor() in (former, -1)
        assert ours is None or ours.fileno() == -1
        _ferrio._restore_wakeup_descriptor(former)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    assert at_every_bytecode(add_and_remove, check) > 100
