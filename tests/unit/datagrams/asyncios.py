"""What asyncio's datagram transports do in this interpreter, and what the machine supports."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

HAS_IPV6 = socket.has_ipv6 and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text()
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
HOSTS = ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)]

#: asyncio's own became one with 3.12.
IS_DATAGRAM_TRANSPORT = sys.version_info >= (3, 12)


def sends_empty_datagrams() -> bool:
    """Whether asyncio sends empty datagrams here: it began to between two releases of 3.12."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setblocking(False)
    loop = asyncio.SelectorEventLoop()
    with ours, theirs:

        async def send() -> bool:
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours)
            # Only a socket with a peer that has a name is sent to without an address.
            transport._extra["peername"] = "somebody"
            transport.sendto(b"")
            transport.abort()
            await asyncio.sleep(0)
            try:
                return theirs.recv(1) == b""
            except BlockingIOError:
                return False

        try:
            return loop.run_until_complete(send())
        finally:
            loop.close()
