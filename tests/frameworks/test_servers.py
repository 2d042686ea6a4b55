"""What happens to a test whose server is missing."""

import pytest

from .servers.debian import Program

MISSING = Program("no-such-server", "the-package", ("/no/such/folder",))


def test_a_missing_server_skips_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install the Debian package the-package"):
        MISSING.require()


def test_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install the Debian package the-package"):
        MISSING.require()
