"""A PostgreSQL cluster of its own: a Unix socket, a TCP port with and without TLS, durability switched off."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..certificates import Certificates
from .daemon import daemon, free_port, give_to_server, private_folder, run_to_end
from .debian import Program

PROGRAM = Program("postgres", "postgresql", ("/usr/lib/postgresql/*/bin",))

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": ".",
    "ssl": "on",
    "ssl_cert_file": "server.pem",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "authority.pem",
}


@dataclass(frozen=True)
class PostgreSQL:
    socket_folder: Path
    port: int
    user: str = "tester"
    database: str = "postgres"


@contextmanager
def postgresql(certificates: Certificates) -> Iterator[PostgreSQL]:
    postgres = PROGRAM.require()
    with private_folder() as folder:
        data = folder / "data"
        make = [postgres.parent / "initdb", "--pgdata", data, "--username", PostgreSQL.user, "--auth", "trust"]
        run_to_end([*make, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"], folder)
        for source, name in [
            (certificates.server_file, "server.pem"),
            (certificates.server_key_file, "server.key"),
            (certificates.authority_file, "authority.pem"),
        ]:
            shutil.copyfile(source, data / name)
            (data / name).chmod(0o600)
            give_to_server(data / name)
        port = free_port()
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": port}.items()]
        command = [postgres, "-D", data, *settings]
        # The socket lies beside the server's other files: `unix_socket_directories` is relative to the data.
        with daemon(command, folder, lambda log: "ready to accept connections" in log, end=signal.SIGINT):
            yield PostgreSQL(data, port)
