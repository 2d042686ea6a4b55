"""What every folder of tests shares: a line in the report's head and certificates.

Nothing here touches asyncio: its default loop, policy and names are as the interpreter made them.
"""

import gc
import os

import pytest

from frameworks.certificates import Certificates, make_certificates


def pytest_report_header() -> str:
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
