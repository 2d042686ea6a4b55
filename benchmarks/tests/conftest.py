import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import programs, sample
from harness.services import Services


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> programs.Programs:
    return programs.build_all(Services(), tmp_path_factory.mktemp("bench"))


@pytest.fixture
def c_server(built: programs.Programs) -> Iterator[sample.Server]:
    with sample.running([str(built.c_echo)]) as server:
        yield server
