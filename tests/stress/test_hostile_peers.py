"""The soak of hostile peers in short."""

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).with_name("hostile_peers.py")


def test_peers_that_break_off_anywhere_leave_three_servers_as_they_were() -> None:
    completed = subprocess.run(
        [sys.executable, SOAK, "--seed", "1", "--seconds", "10", "--warm-up", "300"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
    for kind in ("streams", "protocol", "tls"):
        assert f"{kind}: a request, busy" in completed.stdout, completed.stdout
    assert "tls: a record cut short, reset" in completed.stdout, completed.stdout
