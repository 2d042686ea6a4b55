"""A server's process: private folder, log, unprivileged user, an end that is certain.

The process gets its end signal too when the process of the tests dies, so none outlives them.
"""

import errno
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Seconds for a server to start or to end.
LIMIT_S = 30.0


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that belongs to the servers' user, with a path short enough for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ferrio-"))
    try:
        give_to_server(folder)
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give_to_server(path: Path) -> None:
    if os.geteuid() == 0:
        user = _user()
        os.chown(path, user.pw_uid, user.pw_gid)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(16_384, 32_768)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def run_to_end(command: Sequence[str | Path], folder: Path) -> None:
    """Run *command* as the servers' user and demand that it succeeds."""
    result = subprocess.run(
        _as_server(command, signal.SIGTERM), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


@contextmanager
def daemon(
    command: Sequence[str | Path],
    folder: Path,
    is_ready: Callable[[str], bool],
    *,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* until the block ends.

    Args:
        is_ready: Asked again and again, with the log so far, whether the server can be used.
        end: The signal that ends the server.
    """
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _as_server(command, end), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + LIMIT_S
        while not is_ready(log.read_text(errors="replace")):
            text = log.read_text(errors="replace")
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}:\n{text}"
            assert time.monotonic() < deadline, f"{command[0]} did not become ready:\n{text}"
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(end)
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(LIMIT_S)


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _as_server(command: Sequence[str | Path], end: signal.Signals) -> list[str]:
    prefix = ["setpriv", f"--pdeathsig={end.name.removeprefix('SIG')}"]
    if os.geteuid() == 0:
        user = _user()
        prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*prefix, "--", *map(str, command)]


def _user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")
