"""Conditions: their locks, notifications, cancellations, and what a program put into them."""

import asyncio
import asyncio as stdlib
from collections.abc import Callable
from typing import Any

import pytest

from ..loops import run
from .namespace import ours

hands_notifications_on = pytest.mark.skipif(
    not hasattr(asyncio.Condition, "_notify"), reason="this version's conditions lose notifications"
)


class LockOfAnotherKind(asyncio.Lock):
    """A lock for which a condition has to run asyncio's own code."""


def test_a_condition_makes_a_lock_of_its_own_kind() -> None:
    condition = ours.Condition()
    assert type(condition._lock) is (ours.Lock if ours.Condition is not asyncio.Condition else asyncio.Lock)
    assert condition.acquire.__self__ is condition._lock
    assert not condition.locked()
    assert repr(condition).endswith("[unlocked]>")


@pytest.mark.parametrize("make_lock", [lambda: ours.Lock(), lambda: stdlib.Lock(), lambda: LockOfAnotherKind()])
def test_a_condition_works_over_any_lock(loop: asyncio.AbstractEventLoop, make_lock: Callable[[], Any]) -> None:
    async def main() -> list[Any]:
        condition = ours.Condition(make_lock())
        seen: list[Any] = []

        async def wait(number: int) -> None:
            async with condition:
                seen.append(await condition.wait())
                seen.append(number)

        async def wait_for() -> None:
            async with condition:
                seen.append(await condition.wait_for(lambda: len(seen) == 6 and "six"))

        tasks = [stdlib.create_task(wait(number)) for number in range(3)] + [stdlib.create_task(wait_for())]
        await stdlib.sleep(0)
        for count in (1, 0, 5):
            async with condition:
                condition.notify(count)
            await stdlib.sleep(0)
        for _ in range(3):
            async with condition:
                condition.notify_all()
            await stdlib.sleep(0)
        await stdlib.gather(*tasks)
        assert not condition.locked()
        assert not condition._waiters
        return seen

    assert run(loop, main()) == [True, 0, True, 1, True, 2, "six"]


def test_a_condition_must_be_entered(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()
        with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
            await condition.wait()
        for notify in (condition.notify, condition.notify_all, lambda: condition.notify(n=2)):
            with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
                notify()
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired.$"):
            condition.release()

    run(loop, main())


@hands_notifications_on
def test_cancelled_between_notification_and_lock_it_tells_the_next(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()

        async def wait() -> bool:
            async with condition:
                return bool(await condition.wait())

        first, second = stdlib.create_task(wait()), stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify()
            await stdlib.sleep(0)
            # The first waits for the lock now.
            first.cancel("early")
            await stdlib.sleep(0)
            first.cancel("late")
            await stdlib.sleep(0)
            assert not first.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await first
        assert caught.value.args == ("late",)
        assert await second
        assert not condition.locked()

    run(loop, main())


@hands_notifications_on
def test_the_latest_of_several_cancellations_comes_out(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition = ours.Condition()

        async def wait() -> None:
            async with condition:
                await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            for message in ("first", "second", "third"):
                task.cancel(message)
                await stdlib.sleep(0)
                assert not task.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        chain = [caught.value.args]
        error = caught.value.__context__
        while error is not None:
            chain.append(error.args)
            error = error.__context__
        assert chain[0] == ("third",)
        assert ("first",) in chain
        assert ("second",) not in chain

    run(loop, main())


def test_a_condition_asks_what_a_program_put_into_it(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> list[str]:
        condition = ours.Condition()
        asked: list[str] = []
        release, acquire = condition.release, condition.acquire

        def other_release() -> None:
            asked.append("release")
            release()

        async def other_acquire() -> Any:
            asked.append("acquire")
            return await acquire()

        condition.release, condition.acquire = other_release, other_acquire

        async def wait() -> None:
            async with condition:
                await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify()
        await task
        return asked

    # Entered, released to wait; entered, left; taken again, left.
    assert run(loop, main()) == ["acquire", "release", "acquire", "release", "acquire", "release"]


@hands_notifications_on
def test_a_condition_whose_lock_is_replaced_during_a_wait_takes_the_other(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        condition, other = ours.Condition(), ours.Lock()

        async def wait() -> None:
            await condition.acquire()
            await condition.wait()

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        condition.acquire, condition.release, condition.locked = other.acquire, other.release, other.locked
        async with condition:
            condition.notify()
        await task
        assert other.locked()

    run(loop, main())


def test_a_subclass_of_a_condition_is_asked_what_asyncio_asks(loop: asyncio.AbstractEventLoop) -> None:
    class Condition(ours.Condition):  # type: ignore[misc]
        async def wait(self) -> bool:
            asked.append("wait")
            return bool(await super().wait())

        def notify(self, n: int = 1) -> None:
            asked.append(f"notify {n}")
            super().notify(n)

    asked: list[str] = []

    async def main() -> None:
        condition = Condition()

        async def wait() -> None:
            async with condition:
                await condition.wait_for(lambda: len(asked) > 1)

        task = stdlib.create_task(wait())
        await stdlib.sleep(0)
        async with condition:
            condition.notify_all()
        await task

    run(loop, main())
    assert asked == ["wait", "notify 1"]
