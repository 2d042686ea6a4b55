"""An nginx of its own, with and without TLS: files of a folder, and a proxy before what listens on a Unix socket."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..certificates import Certificates
from .daemon import accepts, daemon, free_port, give_to_server, private_folder
from .debian import Program

PROGRAM = Program("nginx", "nginx")

#: Requests after which nginx closes a connection to ``/short/``.
SHORT = 3

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  sendfile on;
  upstream service {{ server unix:{folder}/upstream.sock; keepalive 8; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location /files/ {{ alias {folder}/files/; }}
    location /short/ {{ alias {folder}/files/; keepalive_requests {short}; }}
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """Attributes: ``files`` is the folder that ``/files/`` and ``/short/`` serve; ``upstream`` is where the proxied
    service has to listen."""

    folder: Path
    port: int
    tls_port: int

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def upstream(self) -> Path:
        return self.folder / "upstream.sock"

    def base(self, *, secure: bool) -> str:
        return f"https://127.0.0.1:{self.tls_port}" if secure else f"http://127.0.0.1:{self.port}"


@contextmanager
def nginx(certificates: Certificates) -> Iterator[Nginx]:
    program = PROGRAM.require()
    with private_folder() as folder:
        found = Nginx(folder, free_port(), free_port())
        found.files.mkdir()
        certificate, key = folder / "server.pem", folder / "server.key"
        shutil.copyfile(certificates.server_file, certificate)
        shutil.copyfile(certificates.server_key_file, key)
        key.chmod(0o600)
        give_to_server(key)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                port=found.port,
                tls_port=found.tls_port,
                certificate=certificate,
                key=key,
                short=SHORT,
            )
        )
        command = [program, "-e", folder / "errors", "-p", folder, "-c", configuration]
        with daemon(command, folder, lambda _: accepts(found.port), end=signal.SIGTERM):
            yield found
