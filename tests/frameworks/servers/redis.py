"""A Redis of its own: a Unix socket, a TCP port, a TCP port with TLS, nothing written to disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..certificates import Certificates
from .daemon import daemon, free_port, give_to_server, private_folder
from .debian import Program

PROGRAM = Program("redis-server", "redis-server")


@dataclass(frozen=True)
class Redis:
    socket: Path
    port: int
    tls_port: int


@contextmanager
def redis_server(certificates: Certificates) -> Iterator[Redis]:
    program = PROGRAM.require()
    with private_folder() as folder:
        key = folder / "server.key"
        shutil.copyfile(certificates.server_key_file, key)
        key.chmod(0o600)
        give_to_server(key)
        for source in (certificates.server_file, certificates.authority_file):
            shutil.copyfile(source, folder / source.name)
        found = Redis(folder / "redis.sock", free_port(), free_port())
        settings: dict[str, object] = {
            "bind": "127.0.0.1",
            "port": found.port,
            "tls-port": found.tls_port,
            "tls-cert-file": folder / certificates.server_file.name,
            "tls-key-file": key,
            "tls-ca-cert-file": folder / certificates.authority_file.name,
            "tls-auth-clients": "no",
            "unixsocket": found.socket,
            "unixsocketperm": "777",
            "save": "",
            "appendonly": "no",
            "dir": folder,
        }
        command = [program, *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]
        with daemon(command, folder, lambda log: "Ready to accept connections" in log):
            yield found
