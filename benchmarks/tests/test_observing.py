"""What `benchmarks/observing.py` compares: every way to look at a loop, on every case."""

import asyncio

import pytest

import ferrio
import observing


@pytest.mark.parametrize("mode", observing.MODES)
@pytest.mark.parametrize("case", observing.CASES)
def test_a_ratio_is_found(case: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(observing.CASES, case, (50, 1.0))
    with asyncio.Runner(loop_factory=ferrio.Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, ferrio.Loop)
        found, error = runner.run(observing.ratio(loop, case, mode, 2))
        assert found > 0
        assert error >= 0
        # Nobody looks any more.
        assert loop._watch is None
        measured = loop.histograms().callbacks.total
        assert bool(measured) == mode.startswith("measured")
