"""What instructions are counted of: every echo comes back, every case is one that the suite has."""

import asyncio

import pytest

import ferrio
import instructions
from micro.echoes import ECHOES, echo
from micro.registry import BENCHMARKS


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, ferrio.Loop])
@pytest.mark.parametrize("name", ECHOES)
def test_an_echo_answers_every_message(name: str, new_loop: type[asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(echo(name, runner.get_loop(), 5)) > 0


def test_every_case_is_one_of_the_suite() -> None:
    assert set(instructions.IN_PROCESS) <= set(BENCHMARKS)


@pytest.mark.parametrize("name", ["call_soon", "echo_protocol"])
def test_a_case_can_be_played_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP", "ferrio")
    instructions.play(name, 10)
