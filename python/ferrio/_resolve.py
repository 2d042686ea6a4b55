"""Numeric addresses, which need no resolver."""

from __future__ import annotations

import socket


def is_numeric_address(host: str | bytes | None, port: str | bytes | int | None) -> bool:
    """True if ``getaddrinfo`` resolves *host* and *port* without a look-up that could block.

    The scope id of an IPv6 address (``fe80::1%eth0``) is looked up locally, so such a host counts as numeric.
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
