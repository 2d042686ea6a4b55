"""Pipe transports: asyncio's own, with native methods for each block that is read or written."""

from __future__ import annotations

import errno
import os

from . import _ferrio
from ._asyncio_internals import unix_events

__all__ = ["ReadPipeTransport", "WritePipeTransport"]


class ReadPipeTransport(unix_events._UnixReadPipeTransport):  # type: ignore[misc]
    """The reading end of a pipe, a FIFO, a socket or a character device.

    ``_read_ready`` is native; the end of the file and errors are asyncio's.
    """

    _reads_large = False
    _read_as_asyncio = unix_events._UnixReadPipeTransport._read_ready


class WritePipeTransport(unix_events._UnixWritePipeTransport):  # type: ignore[misc]
    """The writing end of a pipe, a FIFO, a socket or a character device.

    ``write`` is native as long as there is room; the rest is asyncio's.
    """

    _write_as_asyncio = unix_events._UnixWritePipeTransport.write

    def _keep_rest(self, data: bytes, sent: int) -> None:
        # There was room for so many bytes only.
        self._loop._add_writer(self._fileno, self._write_ready)
        self._buffer += memoryview(data)[sent:]
        self._maybe_pause_protocol()

    def _lose_closed_file(self) -> None:
        # The number may be another file's by now.
        self._conn_lost += 1
        self._fatal_error(OSError(errno.EBADF, os.strerror(errno.EBADF)), "Fatal write error on pipe transport")


_ferrio.add_pipe_methods(ReadPipeTransport, WritePipeTransport)
