"""Which addresses need no resolver."""

from __future__ import annotations

import socket


def is_numeric_address(host: str | bytes | None, port: str | bytes | int | None) -> bool:
    """Whether ``getaddrinfo`` answers for *host* and *port* without asking anybody.

    A scope id (``fe80::1%eth0``) is a local lookup and stays in the answer.
    """
    if isinstance(port, bytes):
        port = port.decode("ascii", "replace")
    if isinstance(port, str) and port and not port.isdigit():
        return False
    if host is None:
        return True
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or not host:
        return False
    if ":" in host:
        family, host = socket.AF_INET6, host.partition("%")[0]
    else:
        family = socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
