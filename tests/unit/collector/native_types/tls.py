"""The records of a TLS connection."""

import ssl
from typing import Any

from ferrio import _ferrio

from .kinds import KINDS, Kind

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def records(token: Any = None) -> Any:
    """The records of a TLS object that refers to *token*."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object: Any = CONTEXT.wrap_bio(incoming, outgoing, server_hostname="localhost")
    ssl_object.token = token
    return _ferrio.tls_records(ssl_object, incoming, outgoing)


KINDS["TlsRecords"] = Kind(
    make=lambda _world: records(),
    ways={"SSLObject": lambda _world, token: records(token)},
)
