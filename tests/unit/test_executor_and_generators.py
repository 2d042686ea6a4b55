"""The default executor and the asynchronous generators of a loop."""

import asyncio
import concurrent.futures
import contextvars
import gc
import threading
from typing import Any

import pytest

from .loops import run, run_until, turn

Loop = asyncio.AbstractEventLoop


def test_a_function_runs_in_another_thread_and_its_result_comes_back(loop: Loop) -> None:
    async def main() -> Any:
        return await loop.run_in_executor(None, lambda *args: (threading.current_thread(), args), 1, 2)

    thread, args = run(loop, main())
    assert thread is not threading.current_thread()
    assert args == (1, 2)


def test_an_exception_of_the_function_comes_back(loop: Loop) -> None:
    async def main() -> None:
        await loop.run_in_executor(None, lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        run(loop, main())


def test_the_loop_runs_on_while_a_thread_works(loop: Loop) -> None:
    turns = 0
    gate = threading.Event()

    async def main() -> None:
        nonlocal turns
        work = loop.run_in_executor(None, gate.wait, 5)
        while turns < 50:
            turns += 1
            await asyncio.sleep(0)
        gate.set()
        assert await work

    run(loop, main())
    assert turns == 50


def test_many_functions_all_come_back(loop: Loop) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(loop.run_in_executor(None, int, str(n)) for n in range(200)))

    assert run(loop, main()) == list(range(200))


def test_to_thread_keeps_the_context(loop: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> str:
        variable.set("mine")
        return await asyncio.to_thread(variable.get)

    assert run(loop, main()) == "mine"


def test_an_executor_of_the_users_is_used(loop: Loop) -> None:
    async def main(executor: concurrent.futures.Executor) -> str:
        return await loop.run_in_executor(executor, lambda: threading.current_thread().name)

    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="theirs") as executor:
        assert run(loop, main(executor)).startswith("theirs")
        loop.set_default_executor(executor)
        assert run(loop, main(None)).startswith("theirs")  # type: ignore[arg-type]


def test_no_executor_is_made_before_it_is_needed(loop: Any) -> None:
    threads = threading.enumerate()
    run(loop, asyncio.sleep(0))
    assert loop._default_executor is None
    assert set(threading.enumerate()) <= set(threads)


def test_shutting_the_executor_down_ends_its_threads_and_refuses_more(loop: Any) -> None:
    threads = threading.enumerate()

    async def main() -> None:
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            await loop.run_in_executor(None, int)

    run(loop, main())
    assert set(threading.enumerate()) <= set(threads)


def test_closing_the_loop_does_not_wait_for_the_executor(make_loop: Any) -> None:
    loop = make_loop()
    gate = threading.Event()
    loop.call_soon(loop.run_in_executor, None, gate.wait, 5)
    turn(loop)
    loop.close()
    gate.set()


def test_asynchronous_generators_left_open_are_closed(loop: Loop) -> None:
    ended: list[str] = []

    async def generate() -> Any:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("closed")

    async def main() -> Any:
        generator = generate()
        await anext(generator)
        return generator

    generator = run(loop, main())
    assert ended == []
    run(loop, loop.shutdown_asyncgens())
    assert ended == ["closed"]
    del generator


def test_a_forgotten_asynchronous_generator_is_closed_by_the_loop(loop: Loop) -> None:
    ended: list[str] = []

    async def generate() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("closed")

    async def main() -> None:
        generator = generate()
        await anext(generator)
        del generator
        gc.collect()

    run(loop, main())
    run_until(loop, lambda: ended)


def test_a_generator_started_after_the_shutdown_is_warned_of(loop: Loop) -> None:
    async def generate() -> Any:
        yield 1

    async def main() -> None:
        generator = generate()
        await anext(generator)
        await generator.aclose()

    run(loop, loop.shutdown_asyncgens())
    with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
        run(loop, main())


def test_the_hooks_of_asynchronous_generators_are_as_before_when_the_loop_has_run(loop: Loop) -> None:
    import sys

    before = sys.get_asyncgen_hooks()
    seen: list[Any] = []
    loop.call_soon(lambda: seen.append(sys.get_asyncgen_hooks()))
    turn(loop)
    assert seen[0] != before
    assert sys.get_asyncgen_hooks() == before
