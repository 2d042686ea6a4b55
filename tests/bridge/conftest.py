"""Builds the example extension for this interpreter, and runs each test on each loop."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ferrio

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "kv_client" / sys.implementation.cache_tag


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # The first test builds the extension.
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def library() -> Path:
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--target-dir", TARGET],
        cwd=ROOT / "examples" / "kv_client",
        env=os.environ | {"PYO3_PYTHON": sys.executable},
        check=True,
    )
    return TARGET / "debug" / "libkv_client.so"


@pytest.fixture(scope="session")
def kv_client(library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("kv_client", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["ferrio", "asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "ferrio":
        return ferrio.new_event_loop
    if request.param == "asyncio":
        return asyncio.SelectorEventLoop
    uvloop: Any = pytest.importorskip("uvloop")
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


@pytest.fixture
def runner(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        yield runner
