"""Native calls and deallocations that go deep into one another: an error where asyncio has one, never the end of the
process."""

import subprocess
import sys
import textwrap

import pytest

from .loops import NAME, ferrio_only


def output_of(program: str) -> str:
    """Run *program* in a new process, which must succeed, and return its output."""
    head = """
        import asyncio, gc, sys, warnings
        warnings.simplefilter("ignore")
        if NAME == "ferrio":
            import ferrio, ferrio.asyncio
            from ferrio import _ferrio
            aio, new_loop = ferrio.asyncio, ferrio.new_event_loop
        else:
            aio, new_loop = asyncio, asyncio.SelectorEventLoop
    """
    program = f"NAME = {NAME!r}\n" + textwrap.dedent(head) + textwrap.dedent(program)
    command = [sys.executable, "-X", "faulthandler", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.strip()


# --- calls ---------------------------------------------------------------------------------------------------------

NESTED = """
    async def leaf():
        await aio.sleep(0.001)
        return "leaf"

    async def passes_on(awaitable):
        return await awaitable

    async def main(count):
        awaitable = leaf()
        for _ in range(count):
            awaitable = {wrap}
        try:
            print(await awaitable)
        except RecursionError as error:
            print(error)
        del awaitable

    {before}
    loop = new_loop()
    for count in {counts}:
        loop.run_until_complete(main(count))
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's wait_for makes a task of each, before 3.12")
def test_wait_for_within_wait_for_ends_where_asyncios_does() -> None:
    program = NESTED.format(wrap="aio.wait_for(awaitable, None)", before="", counts=(100, 10_000, 100_000))
    first, *others = output_of(program).splitlines()
    assert first == "leaf"
    assert [other[:32] for other in others] == ["maximum recursion depth exceeded"] * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's wait_for makes a task of each, before 3.12")
def test_a_higher_recursion_limit_does_not_use_up_the_stack() -> None:
    before = "sys.setrecursionlimit(30_000)"
    output = output_of(NESTED.format(wrap="aio.wait_for(awaitable, 60)", before=before, counts=(500, 30_000)))
    assert output.startswith("leaf\n")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's wait_for makes a task of each, before 3.12")
def test_native_and_python_coroutines_within_one_another_end_with_an_error() -> None:
    program = NESTED.format(wrap="passes_on(aio.wait_for(awaitable, 60))", before="", counts=(100, 20_000))
    first, other = output_of(program).splitlines()
    assert (first, other[:32]) == ("leaf", "maximum recursion depth exceeded")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's wait_for makes a task of each, before 3.12")
@pytest.mark.parametrize("end", ["throw(ValueError())", "close()"])
def test_a_deep_wait_can_be_ended(end: str) -> None:
    program = f"""
        async def leaf():
            await asyncio.Event().wait()

        async def main():
            awaitable = leaf()
            for _ in range(300):
                awaitable = aio.wait_for(awaitable, None)
            awaitable.send(None)
            try:
                print(awaitable.{end})
            except ValueError:
                print("thrown")

        new_loop().run_until_complete(main())
    """
    assert output_of(program) == ("None" if end == "close()" else "thrown")


def test_a_condition_whose_waits_end_at_once_ends() -> None:
    program = """
        class Future(asyncio.Future):
            pass

        async def main():
            loop, left = asyncio.get_running_loop(), 500
            condition = aio.Condition()

            def done():
                future = Future(loop=loop)
                future.set_result(None)
                return future

            def is_over():
                nonlocal left
                left -= 1
                return left == 0

            async with condition:
                loop.create_future = done
                print(await condition.wait_for(is_over))

        new_loop().run_until_complete(main())
    """
    assert output_of(program) == "True"


@ferrio_only
def test_turns_within_turns_end_at_the_limit() -> None:
    program = """
        import functools

        loop = new_loop()
        errors = []
        loop.set_exception_handler(lambda loop, context: errors.append(type(context["exception"])))
        # The native one: a frame of Python's for each turn would leave no room for reports.
        turn = functools.partial(ferrio._ferrio.LoopCore._run_once, loop)
        for _ in range(5_000):
            loop.call_soon(turn)
        # A loop that is to stop does not wait for more.
        loop.stop()
        while loop._ready:
            turn()
        # Before 3.13 the interpreter's limit for calls in C comes first, and leaves no room for a report either.
        print(set(errors) - {RecursionError}, bool(errors) or sys.version_info < (3, 13))
    """
    assert output_of(program) == "set() True"


@ferrio_only
@pytest.mark.parametrize("use", ["function.some_name", "function(1, 2, 3, 4)", "repr(function)"])
def test_functions_around_functions_end_with_an_error(use: str) -> None:
    program = f"""
        function = asyncio.sleep
        for _ in range(100_000):
            function = _ferrio.Function("sleep", function)
        try:
            print({use})
        except RecursionError as error:
            print(error)
    """
    assert output_of(program) == "maximum recursion depth exceeded"


# --- deallocations -------------------------------------------------------------------------------------------------

#: How an object holds the one before it: 60,000 of them are freed at once.
CHAINS = {
    "arguments of handles": "chain = loop.call_later(1000, print, chain)",
    "callbacks of handles": "chain = loop.call_later(1000, chain)",
    "a handle's slot": "link = loop.call_soon(print); link._context = chain; chain = link",
    "results of futures": "link = loop.create_future(); link.set_result(chain); chain = link",
    "coroutines": "chain = aio.wait_for(chain or aio.sleep(0), None)",
    "locks": "link = aio.Lock(); link._loop = chain; chain = link",
    "tuples and locks": "link = aio.Lock(); link._loop = (chain,); chain = loop.call_later(1000, link)",
    "timeouts": "chain = aio.Timeout(chain)",
    "socket operations": "chain = loop.sock_recv(sock, chain)",
}
#: The same where asyncio has no such thing.
NATIVE_CHAINS = {
    "a timer's slot": "link = loop.call_at(2e9, print); link._when = chain; chain = link",
    "functions": "chain = _ferrio.Function('sleep', chain or asyncio.sleep)",
    "native locks": "link = _ferrio.LockCore(); link._loop = chain; chain = link",
    "native conditions": "link = _ferrio.ConditionCore(); link.locked = chain; chain = link",
    "native task groups": "link = _ferrio.TaskGroupCore(); link._errors = chain; chain = link",
    "native timeouts": "chain = _ferrio.TimeoutCore(chain)",
    "stream protocols": "link = stream(); link.set_protocol(chain); chain = link",
    "stream waiters": "link = stream(); link._empty_waiter = chain; chain = link",
    "stream details": "link = stream(); link._extra = chain; chain = link",
    "datagram protocols": "link = datagram(); link.set_protocol(chain); chain = link",
    "protocols in Python": "link = stream(); link.set_protocol(Holder(chain)); chain = link",
}


def free(link: str) -> None:
    program = f"""
        import socket

        class Holder:
            def __init__(self, value): self.value = value

        def stream(): return _ferrio.StreamTransport.__new__(_ferrio.StreamTransport)
        def datagram(): return _ferrio.DatagramTransport.__new__(_ferrio.DatagramTransport)

        loop = new_loop()
        sock = socket.socket()
        chain = None
        gc.disable()
        for _ in range(60_000):
            {link}
        loop.close()
        link = None
        chain = None
        gc.collect()
        print("freed")
    """
    assert output_of(program) == "freed"


@pytest.mark.parametrize("name", CHAINS)
def test_a_long_chain_is_freed(name: str) -> None:
    free(CHAINS[name])


@ferrio_only
@pytest.mark.parametrize("name", NATIVE_CHAINS)
def test_a_long_chain_of_native_objects_is_freed(name: str) -> None:
    free(NATIVE_CHAINS[name])


@ferrio_only
@pytest.mark.parametrize("name", ["locks", "callbacks of handles", "timeouts"])
def test_a_long_chain_that_is_a_cycle_is_collected(name: str) -> None:
    lines = ["if chain is None: chain = first = aio.Lock()", CHAINS[name], "first._loop = chain"]
    free(("\n" + " " * 12).join(lines))


@ferrio_only
def test_what_a_deep_deallocation_postpones_is_freed_before_it_ends() -> None:
    program = """
        freed = []

        class Last:
            def __del__(self): freed.append(self)

        chain = Last()
        for _ in range(1000):
            link = _ferrio.LockCore()
            link._loop = chain
            chain = link
        del link
        del chain
        print(len(freed))
    """
    assert output_of(program) == "1"
