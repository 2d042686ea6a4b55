"""What every folder of tests shares: a line in the report's head, the option ``--quick``, and certificates.

Nothing here touches asyncio: its default loop, policy and names are as the interpreter made them.
"""

import gc
import os
from pathlib import Path

import pytest

from frameworks.certificates import Certificates, make_certificates
from quick_part import TABLE, QuickPart


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"only what {TABLE.name} calls the quick part of the tests")
    parser.addoption(
        "--since", type=Path, help="of the quick part what the modules concern that are newer than this file"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        import ferrio

        package = Path(ferrio.__file__ or "").parent
        config.pluginmanager.register(QuickPart(config, package, config.getoption("since")), "quick_part")


def pytest_report_header(config: pytest.Config) -> str:
    import ferrio

    chosen = os.environ.get("FERRIO_TEST_LOOP") or "ferrio"
    return f"ferrio {ferrio.__version__}, loop under test: {chosen}"


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
