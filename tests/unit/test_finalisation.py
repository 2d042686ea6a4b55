"""The end of the interpreter: finalizers that call the loop, and threads that nothing waits for."""

import subprocess
import sys
import textwrap

import pytest

#: An object that lives until the modules are taken down, and what its finalizer gets.
PROGRAM = """
import asyncio, ferrio, ferrio.asyncio, sys
closed = ferrio.Loop()
closed.run_until_complete(ferrio.asyncio.sleep(0.001))
closed.close()
future = closed.create_future()

class Late:
    def __init__(self, call):
        self.me, self.call, self.keep = self, call, (print, type, str, BaseException)

    def __del__(self):
        try:
            print(self.call())
        except BaseException as error:
            print(type(error).__name__, str(error), sep=": ")

def hold(): pass
hold.late = Late({call})
hold.me = hold
sys.modules["hold"] = hold
"""


def run_to_its_end(program: str) -> str:
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("lambda sleep=ferrio.asyncio.sleep: sleep(1).send(None)", "RuntimeError: no running event loop"),
        ("lambda get=ferrio.asyncio.Queue().get: get().send(None)", "AttributeError: 'NoneType' object has no"),
        ("lambda sleep=ferrio.asyncio.sleep: sleep(1).send(1)", "TypeError: can't send non-None value"),
        ("lambda sleep=ferrio.asyncio.sleep: sleep(1).throw(StopIteration())", "RuntimeError: coroutine raised Stop"),
        ("lambda loop=closed: loop.call_soon(print)", "RuntimeError: Event loop is closed"),
        ("lambda loop=closed: loop._remove_reader(-1)", "False"),
        ("lambda future=future: future.set_result()", "TypeError: "),
        ("lambda future=future: future.cancel(1, 2)", "TypeError: cancel() takes at most 1 argument"),
    ],
)
def test_an_exception_first_made_while_the_interpreter_ends_is_what_it_is_before(call: str, shown: str) -> None:
    assert run_to_its_end(PROGRAM.format(call=call)).startswith(shown)


def test_daemon_threads_that_call_in_while_the_interpreter_ends_disturb_nothing() -> None:
    program = """
        import ferrio, ferrio.asyncio, threading, time
        loop = ferrio.Loop()

        def call_in():
            while True:
                handle = loop.call_soon_threadsafe(int)
                handle.cancel()
                try:
                    ferrio.asyncio.sleep(1).send(None)
                except RuntimeError:
                    pass

        def run():
            other = ferrio.Loop()
            while True:
                other.run_until_complete(ferrio.asyncio.sleep(0.0001))

        for target in [call_in, call_in, run]:
            threading.Thread(target=target, daemon=True).start()
        loop.run_until_complete(ferrio.asyncio.sleep(0.05))
        print("end")
    """
    assert run_to_its_end(program) == "end\n"
