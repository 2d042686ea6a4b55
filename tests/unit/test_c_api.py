"""The functions for extensions: handles, posts, timers, watches, and what they make of a loop that has gone."""

import asyncio
import ctypes
import gc
import os
import socket
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import ferrio
from ferrio.testing import VirtualClock

from .c_api import API, END, FUNCTION, READ, RUN, WRITE, News, Table
from .children import in_child
from .loops import ferrio_only, new_loop, run_until, turn

pytestmark = ferrio_only


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_loop()
    yield loop
    loop.close()


@pytest.fixture
def handle(loop: asyncio.AbstractEventLoop) -> Iterator[int]:
    handle = API.handle_new(loop)
    yield handle
    API.handle_free(handle)


def test_the_table_says_its_version_and_its_size() -> None:
    assert (API.table.version, API.table.size) == (1, ctypes.sizeof(Table))


def test_a_post_runs_in_the_next_turn_behind_what_was_scheduled_before(
    loop: asyncio.AbstractEventLoop, handle: int
) -> None:
    order: list[str] = []
    news = News(lambda told: order.append("posted") if told == RUN else None)
    loop.call_soon(order.append, "before")
    assert API.post(handle, news.function, None) == 1
    loop.call_soon(order.append, "after")
    turn(loop)
    assert order == ["before", "posted", "after"]
    assert news.told == [RUN, END]


def test_posts_of_threads_wake_the_loop(loop: asyncio.AbstractEventLoop, handle: int) -> None:
    count = 0

    def told(what: int) -> None:
        nonlocal count
        count += what == RUN
        if count == 400:
            loop.stop()

    news = News(told)

    def post() -> None:
        mine = API.handle_clone(handle)
        for _ in range(100):
            assert API.post(mine, news.function, None) == 1
        API.handle_free(mine)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        loop.call_soon(thread.start)
    loop.run_forever()
    for thread in threads:
        thread.join()
    turn(loop)
    assert sorted(news.told) == [END] * 400 + [RUN] * 400


def test_a_sleeping_loop_is_woken_each_time(loop: asyncio.AbstractEventLoop, handle: int) -> None:
    for _ in range(50):
        news = News(lambda told: loop.stop() if told == RUN else None)
        thread = threading.Thread(target=API.post, args=(handle, news.function, None))
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()


def test_a_handle_outlives_its_loop() -> None:
    loop = new_loop()
    handle = API.handle_new(loop)
    waiting, late = News(), News()
    assert API.post(handle, waiting.function, None) == 1
    loop.close()
    assert waiting.told == [END]
    assert API.post(handle, late.function, None) == 0
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        API.handle_new(loop)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    assert API.post(handle, late.function, None) == 0
    assert late.told == [END, END]
    API.handle_free(handle)


def test_a_loop_that_is_dropped_unclosed_ends_what_was_posted() -> None:
    loop = new_loop()
    handle = API.handle_new(loop)
    news = News()
    API.post(handle, news.function, None)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    assert news.told == [END]
    assert API.post(handle, news.function, None) == 0
    API.handle_free(handle)


def test_handles_leave_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        loop = new_loop()
        handles = [API.handle_new(loop) for _ in range(3)]
        loop.close()
        for handle in handles:
            API.handle_free(handle)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_waiter_wakes_the_task_that_awaits_it(loop: asyncio.AbstractEventLoop) -> None:
    class Waiting:
        def __await__(self) -> Generator[Any, None, str]:
            self.waiter = API.waiter_new(loop)
            yield self.waiter
            return "woken"

    waiting = Waiting()

    async def main() -> str:
        return await waiting

    task = loop.create_task(main())
    turn(loop, 3)
    assert not task.done()
    assert API.waiter_wake(waiting.waiter) == 0
    assert API.waiter_wake(waiting.waiter) == 0
    turn(loop)
    assert task.result() == "woken"


def test_a_timer_is_due_once(loop: asyncio.AbstractEventLoop) -> None:
    news = News()
    timer = API.timer_start(loop, 0.001, news.function, None)
    run_until(loop, lambda: news.told)
    assert news.told == [RUN, END]
    assert API.stop(timer) == 0
    assert news.told == [RUN, END]


def test_timers_are_due_in_the_order_of_their_times_by_the_programs_clock(loop: asyncio.AbstractEventLoop) -> None:
    order: list[int] = []
    kept = []
    with VirtualClock().attached(loop):
        for delay in (3, 1, 2):
            news = News(lambda told, delay=delay: order.append(delay) if told == RUN else None)  # type: ignore[misc]
            kept.append((news, API.timer_start(loop, delay, news.function, None)))
        loop.call_later(2.5, order.append, 0)
        loop.call_later(4, loop.stop)
        loop.run_forever()
    assert order == [1, 2, 0, 3]


def test_a_stopped_timer_is_never_due(loop: asyncio.AbstractEventLoop) -> None:
    for _ in range(1000):
        news = News()
        timer = API.timer_start(loop, 1000.0, news.function, None)
        assert API.stop(timer) == 0
        assert news.told == [END]
    due = News()
    timer = API.timer_start(loop, 0.0, due.function, None)
    loop.call_soon(API.stop, timer)
    turn(loop, 3)
    assert END in due.told
    gc.collect()
    # A few cancelled timers stay until there are more of them.
    assert sum(type(each) is type(timer) for each in gc.get_objects()) < 200


def test_a_timer_may_be_stopped_by_its_own_function(loop: asyncio.AbstractEventLoop) -> None:
    ends: list[int] = []

    def told(what: int) -> None:
        if what == RUN:
            API.stop(timer)
            ends.extend(news.told)

    news = News(told)
    timer = API.timer_start(loop, 0.0, news.function, None)
    run_until(loop, lambda: END in news.told)
    assert ends == [RUN]
    assert news.told == [RUN, END]


def test_no_delay_is_not_a_number(loop: asyncio.AbstractEventLoop) -> None:
    news = News()
    with pytest.raises(ValueError, match="NaN"):
        API.timer_start(loop, float("nan"), news.function, None)
    assert news.told == [END]


def test_a_watch_hears_once_of_what_it_asks_for(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        news = News()
        watch = API.watch_start(loop, ours.fileno(), news.function, None)
        theirs.send(b"a")
        turn(loop, 2)
        assert news.told == []
        assert API.watch_for(watch, READ) == 0
        turn(loop, 3)
        assert news.told == [READ]
        assert API.watch_for(watch, READ | WRITE) == 0
        turn(loop, 3)
        assert sorted({READ, WRITE} & {bit for told in news.told[1:] for bit in (told & READ, told & WRITE)}) == [1, 2]
        ours.recv(10)
        told = len(news.told)
        assert API.watch_for(watch, READ) == 0
        turn(loop, 3)
        assert len(news.told) == told
        theirs.close()
        run_until(loop, lambda: len(news.told) > told)
        assert API.stop(watch) == 0
        assert news.told[-1] == END
        with pytest.raises(ValueError, match="watches nothing"):
            API.watch_for(watch, READ)


def test_a_watch_that_ends_within_its_own_function_keeps_its_data_till_then(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    seen: list[list[int]] = []

    def told(what: int) -> None:
        if what == WRITE:
            API.stop(watch)
            seen.append(list(news.told))

    with ours, theirs:
        news = News(told)
        watch = API.watch_start(loop, ours.fileno(), news.function, None)
        API.watch_for(watch, WRITE)
        turn(loop, 3)
    assert seen == [[WRITE]]
    assert news.told == [WRITE, END]


def test_a_number_that_is_not_open_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    news = News()
    with pytest.raises(OSError, match="Bad file descriptor"):
        API.watch_start(loop, -1, news.function, None)
    with socket.socket() as closed:
        number = closed.fileno()

    def watch_closed() -> None:
        API.watch_for(API.watch_start(loop, number, news.function, None), READ)

    with pytest.raises(OSError, match="Bad file descriptor"):
        watch_closed()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch = API.watch_start(loop, ours.fileno(), news.function, None)
        for directions in (0, 4, -1):
            with pytest.raises(ValueError, match="directions"):
                API.watch_for(watch, directions)


def test_nothing_is_left_to_do_once_the_loop_has_closed() -> None:
    loop = new_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        timer_news, watch_news = News(), News()
        timer = API.timer_start(loop, 0.0, timer_news.function, None)
        watch = API.watch_start(loop, ours.fileno(), watch_news.function, None)
        API.watch_for(watch, WRITE)
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            API.watch_for(watch, READ)
        for start in (API.timer_start, API.watch_start):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                start(loop, 0, watch_news.function, None)
        assert API.stop(timer) == API.stop(watch) == 0
    assert timer_news.told == [END]
    assert set(watch_news.told) == {END}


def test_a_loop_and_its_timers_are_garbage_together() -> None:
    loop = new_loop()
    news = News()
    timer = API.timer_start(loop, 1000.0, news.function, None)
    gone = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop, timer
        gc.collect()
    # The warning has had the loop for its source.
    gc.collect()
    assert gone() is None
    assert news.told == [END]


def test_other_objects_are_refused(loop: asyncio.AbstractEventLoop) -> None:
    news = News()
    other = asyncio.SelectorEventLoop()
    timer = API.timer_start(loop, 1.0, news.function, None)
    for wrong in (None, 1, other, timer, ferrio.Loop):
        for call in (API.handle_new, API.waiter_new):
            with pytest.raises(TypeError):
                call(wrong)
        for start in (API.timer_start, API.watch_start):
            with pytest.raises(TypeError):
                start(wrong, 0, news.function, None)
    for wrong in (None, 1, other, loop):
        with pytest.raises(TypeError):
            API.stop(wrong)
        with pytest.raises(TypeError):
            API.watch_for(wrong, READ)
    with pytest.raises(ValueError, match="watches nothing"):
        API.watch_for(timer, READ)
    with pytest.raises(AttributeError):
        API.waiter_wake(None)
    assert API.post(None, news.function, None) == 0
    assert API.handle_clone(None) is None
    API.handle_free(None)
    assert API.post(None, FUNCTION(0), None) == 0
    other.close()


def test_another_thread_neither_starts_nor_stops_anything(loop: asyncio.AbstractEventLoop) -> None:
    news = News()
    timer = API.timer_start(loop, 1000.0, news.function, None)
    errors: list[str] = []

    def elsewhere() -> None:
        for call in (
            lambda: API.timer_start(loop, 0.0, news.function, None),
            lambda: API.watch_start(loop, 0, news.function, None),
            lambda: API.stop(timer),
        ):
            with pytest.raises(RuntimeError) as caught:
                call()
            errors.append(str(caught.value))

    async def main() -> None:
        await asyncio.to_thread(elsewhere)

    loop.run_until_complete(main())
    assert len(errors) == 3
    assert all("Non-thread-safe operation" in error for error in errors)
    assert RUN not in news.told


def test_a_forked_child_posts_nothing_to_its_parent(loop: asyncio.AbstractEventLoop, handle: int) -> None:
    def work() -> list[list[int]]:
        inherited, own = News(), News()
        API.post(handle, inherited.function, None)
        API.post(API.handle_new(loop), own.function, None)
        turn(loop)
        return [inherited.told, own.told]

    assert in_child(work) == [[END], [RUN, END]]
    news = News()
    assert API.post(handle, news.function, None) == 1
    turn(loop)
    assert news.told == [RUN, END]
