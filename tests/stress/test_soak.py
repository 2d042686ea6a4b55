"""The soak in short, and that it notices what it is there to notice."""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ferrio

from .soaking.close_waiters import is_unread_close_waiter, mark_close_waiters

SOAK = Path(__file__).with_name("soak.py")


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SOAK, "--seed", "1", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )


def test_5000_connections_leave_nothing_behind() -> None:
    completed = soak("--connections", "5000", "--warm-up", "1000")
    assert completed.returncode == 0, completed.stdout
    for phase in ("connecting", "writing", "reading", "closing"):
        assert f"cancelled while {phase}" in completed.stdout, completed.stdout


@pytest.mark.parametrize("engine", ["native", "python"])
def test_tls_connections_of_which_a_third_is_bad_leave_nothing_behind(engine: str) -> None:
    completed = subprocess.run(
        [sys.executable, SOAK.with_name("tls_soak.py"), "--seed", "1", "--connections", "900", "--warm-up", "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"FERRIO_TLS": engine},
        text=True,
        timeout=50,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout


@pytest.mark.parametrize(
    ("left", "noticed"),
    [
        ("descriptor", "FAILED descriptors grew"),
        ("handle", "FAILED timers that wait grew"),
        ("memory", "FAILED resident memory, KiB grew"),
    ],
)
def test_what_is_left_behind_on_purpose_is_noticed(left: str, noticed: str) -> None:
    completed = soak("--connections", "1500", "--warm-up", "200", "--leave", left)
    assert completed.returncode == 1, completed.stdout
    assert noticed in completed.stdout


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, ferrio.new_event_loop])
def test_a_close_waiter_collected_before_its_protocol_is_told_from_other_futures(
    new_event_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.StreamReaderProtocol, "__init__", asyncio.StreamReaderProtocol.__init__)
    mark_close_waiters()
    reports: list[dict[str, Any]] = []

    class CollectsYoungObjectsFirst:
        """A loop, for the protocol, in which a young collection runs just before the protocol's future is made."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self.get_debug = loop.get_debug

        def create_future(self) -> asyncio.Future[Any]:
            gc.collect(0)
            return self._loop.create_future()

    def lose_a_stream(loop: Any) -> None:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
        protocol.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
        protocol.itself = protocol  # type: ignore[attr-defined]

    loop = new_event_loop()
    automatic = gc.isenabled()
    gc.disable()
    try:
        loop.set_exception_handler(lambda _, context: reports.append(context))
        lose_a_stream(loop)
        gc.collect()
        assert reports == []
        lose_a_stream(CollectsYoungObjectsFirst(loop))
        gc.collect()
        loop.create_future().set_exception(ConnectionResetError())
    finally:
        if automatic:
            gc.enable()
        loop.close()
    assert [context["message"] for context in reports] == ["Future exception was never retrieved"] * 2
    assert [is_unread_close_waiter(context) for context in reports] == [True, False]
