"""``ferrio.run``, ``Runner``, ``new_event_loop``, ``Loop`` and ``EventLoopPolicy``."""

import asyncio
import contextvars
import gc
import importlib.metadata
import sys
import warnings

import pytest

import ferrio

from .loops import ferrio_only

pytestmark = ferrio_only


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_run_runs_on_a_ferrio_loop_and_closes_it() -> None:
    loop = ferrio.run(running_loop())
    assert type(loop) is ferrio.Loop
    assert loop.is_closed()


def test_run_gives_the_result_back() -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "result"

    assert ferrio.run(main()) == "result"


def test_run_lets_the_exception_out() -> None:
    async def main() -> None:
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        ferrio.run(main())


def test_run_of_a_function_says_that_the_call_is_missing() -> None:
    async def program() -> None: ...

    with pytest.raises((TypeError, ValueError)) as theirs:
        asyncio.run(program)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)) as ours:
        ferrio.run(program)  # type: ignore[arg-type]
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))
    assert ours.value.__notes__ == ["program is a function; call it: run(program())"]


def test_a_loop_that_was_refused_is_dropped_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    with pytest.raises(TypeError):
        ferrio.Loop(debug=True)  # type: ignore[call-arg]
    gc.collect()
    assert reports == []


def test_run_cancels_what_is_left_running() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(endless())
        await asyncio.sleep(0)
        assert not task.done()

    ferrio.run(main())
    assert ended == ["cancelled"]


@pytest.mark.parametrize("debug", [True, False])
def test_run_sets_debug_mode(debug: bool) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert ferrio.run(main(), debug=debug) is debug


def test_run_takes_a_loop_factory() -> None:
    class Mine(ferrio.Loop):
        pass

    assert type(ferrio.run(running_loop(), loop_factory=Mine)) is Mine


def test_run_within_a_running_loop_is_refused_in_asyncios_words() -> None:
    async def main() -> None:
        coroutine = running_loop()
        try:
            with pytest.raises(RuntimeError) as theirs:
                asyncio.run(coroutine)
            with pytest.raises(RuntimeError) as ours:
                ferrio.run(coroutine)
        finally:
            coroutine.close()
        assert ours.value.args == theirs.value.args

    ferrio.run(main())


def test_run_of_something_else_than_a_coroutine_is_refused_as_asyncio_refuses_it() -> None:
    with pytest.raises((TypeError, ValueError)) as theirs:
        asyncio.run("text")  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)) as ours:
        ferrio.run("text")  # type: ignore[arg-type]
    assert type(ours.value) is type(theirs.value)
    assert ours.value.args == theirs.value.args


def test_a_runner_keeps_loop_and_context_between_runs() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def set_it() -> asyncio.AbstractEventLoop:
        variable.set("set")
        return asyncio.get_running_loop()

    async def get_it() -> tuple[str, asyncio.AbstractEventLoop]:
        return variable.get(), asyncio.get_running_loop()

    with ferrio.Runner() as runner:
        assert isinstance(runner, asyncio.Runner)
        first = runner.run(set_it())
        assert runner.run(get_it()) == ("set", first)
        assert runner.get_loop() is first
        assert type(first) is ferrio.Loop
    assert first.is_closed()
    assert variable.get() == "unset"


def test_a_runner_takes_debug_mode_and_a_loop_factory() -> None:
    class Mine(ferrio.Loop):
        pass

    with ferrio.Runner(debug=True, loop_factory=Mine) as runner:
        loop = runner.get_loop()
        assert type(loop) is Mine
        assert loop.get_debug()


def test_a_runner_that_was_closed_is_refused() -> None:
    with ferrio.Runner() as runner:
        runner.get_loop()
    with pytest.raises(RuntimeError, match="Runner is closed"):
        runner.get_loop()


def test_new_event_loop_makes_a_new_loop_each_time() -> None:
    first, second = ferrio.new_event_loop(), ferrio.new_event_loop()
    assert first is not second
    assert type(first) is type(second) is ferrio.Loop
    assert not first.is_running()
    assert not first.is_closed()
    first.close()
    assert not second.is_closed()
    second.close()


def test_asyncios_runner_takes_new_event_loop_as_its_factory() -> None:
    with asyncio.Runner(loop_factory=ferrio.new_event_loop) as runner:
        assert type(runner.run(running_loop())) is ferrio.Loop


def test_a_loop_is_an_asyncio_event_loop_of_the_selector_kind() -> None:
    assert issubclass(ferrio.Loop, asyncio.AbstractEventLoop)
    assert issubclass(ferrio.Loop, asyncio.BaseEventLoop)
    assert issubclass(ferrio.Loop, asyncio.SelectorEventLoop)


def test_a_subclass_of_the_loop_can_override_its_methods() -> None:
    class Counting(ferrio.Loop):
        calls = 0

        def call_soon(self, callback, *args, context=None):  # type: ignore[no-untyped-def, override]
            self.calls += 1
            return super().call_soon(callback, *args, context=context)

    loop = Counting()
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert loop.calls >= 2
    assert ran == [1]


def test_the_version_is_that_of_the_distribution() -> None:
    assert ferrio.__version__ == importlib.metadata.version("ferrio")


def test_all_names_what_the_package_offers() -> None:
    expected = {"Loop", "Runner", "__version__", "install", "new_event_loop", "run", "uninstall"}
    if sys.version_info < (3, 16):
        expected.add("EventLoopPolicy")
    assert set(ferrio.__all__) >= expected
    for name in ferrio.__all__:
        assert hasattr(ferrio, name)


def test_a_policy_makes_ferrio_loops() -> None:
    policy = ferrio.EventLoopPolicy()
    loop = policy.new_event_loop()
    assert type(loop) is ferrio.Loop
    loop.close()


def test_a_policy_is_asyncios_default_policy_otherwise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert issubclass(ferrio.EventLoopPolicy, asyncio.DefaultEventLoopPolicy)


def test_a_policy_that_was_set_is_what_asyncio_run_uses() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(ferrio.EventLoopPolicy())
        try:
            assert type(asyncio.run(running_loop())) is ferrio.Loop
        finally:
            asyncio.set_event_loop_policy(None)
    assert type(asyncio.run(running_loop())) is not ferrio.Loop


def test_closing_a_loop_twice_does_nothing() -> None:
    loop = ferrio.Loop()
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_a_loop_shows_its_state() -> None:
    loop = ferrio.Loop()
    assert repr(loop) == "<Loop running=False closed=False debug=False>"
    loop.set_debug(True)
    loop.close()
    assert repr(loop) == "<Loop running=False closed=True debug=True>"


def test_a_loop_in_use_cannot_be_run_again_nor_closed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()
        other = ferrio.Loop()
        try:
            with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
                other.run_forever()
        finally:
            other.close()

    ferrio.run(main())


def test_a_closed_loop_refuses_everything_in_asyncios_words() -> None:
    ours, theirs = ferrio.Loop(), asyncio.SelectorEventLoop()
    ours.close()
    theirs.close()
    for method, args in [
        ("call_soon", (print,)),
        ("call_soon_threadsafe", (print,)),
        ("call_later", (1, print)),
        ("call_at", (1, print)),
        ("run_forever", ()),
        ("add_reader", (0, print)),
        ("add_writer", (0, print)),
        ("run_in_executor", (None, print)),
    ]:
        with pytest.raises(RuntimeError) as expected:
            getattr(theirs, method)(*args)
        with pytest.raises(RuntimeError) as actual:
            getattr(ours, method)(*args)
        assert actual.value.args == expected.value.args, method
