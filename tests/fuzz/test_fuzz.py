"""That the fuzzer finds, tells apart and shortens faults that are planted; and a short run of it."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent
#: A planted fault in the middle of a harmless program, each with the name that it must get.
FAULTS = {
    "killed by SIGSEGV": "call(3, lambda: signal.raise_signal(signal.SIGSEGV))",
    "error: SystemError: Ferrio has a bug": "call(3, lambda: exec('raise SystemError(\"Ferrio has a bug\")'))",
    "growth: blocks": "call(3, lambda: vars(asyncio).setdefault('kept', []).extend(bytearray(9) for _ in range(9)))",
    "growth: objects": "call(3, lambda: vars(asyncio).setdefault('kept', []).append([1]))",
    "growth: descriptors": "call(3, lambda: os.dup(2))",
}


def planted(statement: str) -> list[str]:
    return [
        "call(1, lambda: new_loop())",
        "call(2, lambda: v[1].create_future())",
        "call(4, lambda: turn(v[1]))",
        statement,
        "call(5, lambda: v[2].cancel())",
        "finish()",
    ]


# Children are forked, and the tests' own process has threads and patches: what forks is a program of its own.
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from fuzz import child, shrink, script
child.SILENCE_LIMIT_S = 1.0
statements, fault = {statements!r}, {fault!r}
found = shrink.fails(statements, fault.startswith("growth"))
assert found is not None and fault in found, found
short = shrink.shrink(statements, found)
print(script.script(short, found, "a test"))
"""


def shortened(statements: list[str], fault: str) -> str:
    """The shortened program's text."""
    program = PROGRAM.format(folder=str(FUZZ.parent), statements=statements, fault=fault)
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_its_program_shortened_to_one_call(fault: str, tmp_path: Path) -> None:
    text = shortened(planted(FAULTS[fault]), fault)
    assert "raise_signal" in text or "call(3" in text, text
    body = text.partition("def program():")[2].partition("faulthandler")[0]
    assert body.count("call(") == 1, body
    path = tmp_path / "program.py"
    path.write_text(text)
    completed = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=100, check=False)
    assert completed.returncode == -11 or "MUST NOT BE" in completed.stderr or "GROWS" in completed.stderr, completed


def test_no_memory_for_much_is_a_fault() -> None:
    wanting = "call(3, lambda: [os.write(2, b'memory allocation of 9999999 bytes failed'), signal.raise_signal(6)])"
    assert "9999999" in shortened(planted(wanting), "memory: bytes failed")


def test_a_program_that_no_interrupt_ends_hangs() -> None:
    endless = "call(3, lambda: [signal.setitimer(signal.ITIMER_REAL, 0), threading.Event().wait()])"
    text = shortened(["call(1, lambda: new_loop())", endless], "hang")
    assert "Event().wait()" in text


#: What is no fault, however bad it looks.
HARMLESS = {
    "a turn": ("turn(v[1])", "any"),
    "names in the cache of attributes": (
        "call(3, lambda: [hasattr(v[2], ''.join(['_', 'loop'])) for _ in range(30)])",
        "growth",
    ),
    "a standard future's iterator that has ended": (
        "call(3, lambda: [iterator := asyncio.Future.__await__(asyncio.Future(loop=v[1])), v.__setitem__(5, iterator), "
        "[call(6, lambda: iterator.send(None)) for _ in range(30)]])",
        "error",
    ),
    "growth that ends": (
        "call(3, lambda: (kept := vars(asyncio).setdefault('kept', [])) and len(kept) > 20 or kept.extend([[], []]))",
        "growth",
    ),
    "no memory for a little": (
        "call(3, lambda: [os.write(2, b'memory allocation of 64 bytes failed'), signal.raise_signal(signal.SIGABRT)])",
        "memory",
    ),
    "killed from outside": ("call(3, lambda: signal.raise_signal(signal.SIGKILL))", "killed"),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_program_has_no_fault(what: str) -> None:
    statement, fault = HARMLESS[what]
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(folder=str(FUZZ.parent), statements=planted(statement), fault=fault)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "AssertionError: None" in completed.stderr


def test_5000_calls_find_nothing(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, FUZZ, "--operations", "5000", "--seed", "1", "--jobs", "2", "--folder", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
