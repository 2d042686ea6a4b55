"""What every folder of tests shares: a line in the report's head, the option ``--quick``, and certificates.

Nothing here touches asyncio: its default loop, policy and names are as the interpreter made them.
"""

import gc
import os
import tomllib
from pathlib import Path

import pytest

from frameworks.certificates import Certificates, make_certificates

QUICK = Path(__file__).parent / "quick.toml"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"only what {QUICK.name} calls the quick part of the tests")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        config.pluginmanager.register(QuickPart(config), "quick_part")


def pytest_report_header(config: pytest.Config) -> str:
    import ferrio

    chosen = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
    return f"ferrio {ferrio.__version__}, loop under test: {chosen}"


class QuickPart:
    """Collects the paths of ``quick.toml`` without what that leaves out, and names this at the end."""

    def __init__(self, config: pytest.Config) -> None:
        table = tomllib.loads(QUICK.read_text())
        self._left_out: list[str] = table["left_out"]
        self._files = {config.rootpath / name for name in self._left_out if "::" not in name}
        self._functions = {name for name in self._left_out if "::" in name}
        missing = [str(path) for path in self._files if not path.exists()]
        if missing:
            raise pytest.UsageError(f"{QUICK.name} leaves out what there is not: {', '.join(missing)}")
        self._is_whole = config.args_source is not config.ArgsSource.ARGS
        if self._is_whole:
            config.args = [str(config.rootpath / path) for path in table["paths"]]

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if collection_path in self._files else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if item.nodeid.partition("[")[0] in self._functions]
        missing = self._functions - {item.nodeid.partition("[")[0] for item in left_out}
        if missing and self._is_whole:
            raise pytest.UsageError(f"{QUICK.name} leaves out what there is not: {', '.join(sorted(missing))}")
        items[:] = [item for item in items if item.nodeid.partition("[")[0] not in self._functions]
        config.hook.pytest_deselected(items=left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        names = ", ".join(name.removeprefix("tests/") for name in self._left_out)
        terminalreporter.line(f"Left out by {QUICK.relative_to(Path.cwd())}, beside what is not in its paths: {names}.")


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before() -> None:
    # Hundreds of tests collect garbage to see what is left. What was there before the module's first test is not:
    # looking through imported modules and the reports of earlier tests would take most of the run.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of this test run's own with a server's and a client's certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
