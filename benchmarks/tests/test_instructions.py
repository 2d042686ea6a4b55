"""What instructions are counted of: every echo comes back, every case is one that the suite has."""

import asyncio
from pathlib import Path

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
    assert set(instructions.HOT) <= {*instructions.IN_PROCESS, *ECHOES}
    assert set(instructions.WATCHED) <= set(instructions.HOT)


def test_the_parts_of_a_function_are_added_up() -> None:
    written = ["fl=a.rs\n", "fn=turn\n", "1 20\n", "2 5\n", "fl=b.rs\n", "fn=turn.part.0.lto_priv.0\n", "7 1\n"]
    assert instructions.functions([*written, "fn=step\n", "0 4\n", "summary: 30\n"]) == {"turn": 26, "step": 4}


def test_more_than_the_tolerance_fails_and_names_what_grew() -> None:
    path = {"instructions": 1000.0, "functions": {"turn": 600.0, "step": 390.0, "copy": 10.0}}
    assert instructions.verdict("spawn", {"turn": 609.0, "step": 390.0, "copy": 11.0}, path)[0]

    holds, lines = instructions.verdict("spawn", {"turn": 600.0, "step": 380.0, "copy": 20.0, "new": 30.0}, path)

    assert not holds
    first, *named = lines.splitlines()
    assert "spawn" in first
    assert "1.030" in first
    assert [line.split()[-1] for line in named] == ["new", "copy"]


def test_a_baseline_fits_the_machine_that_wrote_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"rustc": "1", "interpreter": "3.14", "valgrind": "3"}
    monkeypatch.setattr(instructions, "machine", lambda: here)
    monkeypatch.setattr(instructions, "BASELINES", tmp_path / "baselines.json")
    assert instructions.fitting(instructions.stored()) is None
    instructions.update({"spawn": {"turn": 10.0, "seldom": 0.5}})
    instructions.update({"queue": {"turn": 20.0}})

    paths = instructions.fitting(instructions.stored())["paths"]
    here["rustc"] = "2"

    assert paths["spawn"] == {"instructions": 10.5, "functions": {"turn": 10.0}}
    assert paths["queue"]["instructions"] == 20.0
    assert instructions.fitting(instructions.stored()) is None


@pytest.mark.parametrize("name", ["call_soon", "echo_protocol"])
def test_a_case_can_be_played_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP", "ferrio")
    instructions.play(name, 10)


def test_a_watch_that_costs_too_much_fails_with_the_functions_that_grew() -> None:
    without = {"turn": 600.0, "step": 400.0}
    assert instructions.verdict_of_watch("sleep_zero", without, {"turn": 615.0, "step": 400.0})[0]
    holds, lines = instructions.verdict_of_watch("sleep_zero", without, {"turn": 630.0, "step": 400.0})
    assert not holds
    assert "MORE" in lines
    assert "600 ->      630  turn" in lines
