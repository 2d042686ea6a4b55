"""The applications do their work, on stdlib asyncio."""

import pytest

from harness import cases, sample
from harness.programs import Programs

SETTINGS = sample.Settings(seconds=0.5, warmup_s=0.2)


@pytest.mark.parametrize("name", [case.name for case in cases.CASES if case.group == "apps"])
def test_an_application_gives_figures(name: str, built: Programs) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("fastapi")
    if name.startswith("app-fastapi"):
        pytest.importorskip("httptools")
    if name == "app-asyncpg":
        pytest.importorskip("asyncpg")
    (case,) = cases.pick(name)
    with built.services:
        try:
            metrics = sample.take(case, "asyncio", SETTINGS, built)
        except sample.SampleFailed as problem:
            if "not installed" in str(problem):
                pytest.skip(str(problem))
            raise
    assert metrics["cpu_us"] > 0
    assert metrics["messages_per_s"] > 10
