"""Which interpreters count as optimised."""

import pytest

from harness.interpreter import from_arguments, from_test_log

VERSION = "3.14.1 (main, Jan  2 2026, 03:04:05) [GCC 15.2.0]"


def log(folder: str = "build-static", version: str = VERSION, kind: str = "release LTO+PGO dtrace") -> list[str]:
    return [
        f"make[1]: Entering directory '/build/python3.14/{folder}'\n",
        f"== CPython {version}\n",
        f"== Python build: {kind}\n",
    ]


def test_both_options_are_needed() -> None:
    assert from_arguments("'--enable-optimizations' '--with-lto' '--prefix=/usr'").optimised
    assert from_arguments("'--enable-optimizations'").evidence == "Its configure arguments lack --with-lto."
    assert not from_arguments("").optimised


def test_a_test_log_of_the_same_build_is_evidence() -> None:
    assert from_test_log(log(), VERSION).optimised


@pytest.mark.parametrize(
    "lines",
    [
        log(folder="build-shared"),
        log(version="3.14.0"),
        log(kind="release shared"),
        log(kind="debug LTO"),
        [],
    ],
)
def test_any_other_log_is_not(lines: list[str]) -> None:
    assert not from_test_log(lines, VERSION).optimised
