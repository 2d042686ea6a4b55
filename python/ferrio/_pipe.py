"""Pipe transports: asyncio's own, with native methods for reading and writing."""

from __future__ import annotations

import errno
import os

from . import _ferrio
from ._asyncio_internals import unix_events

__all__ = ["ReadPipeTransport", "WritePipeTransport"]


class ReadPipeTransport(unix_events._UnixReadPipeTransport):  # type: ignore[misc]
    """The reading end of a pipe, a FIFO, a socket or a character device.

    ``_read_ready`` is native, and leaves the end of the file and errors to asyncio's method.
    """

    _reads_large = False
    _read_as_asyncio = unix_events._UnixReadPipeTransport._read_ready


class WritePipeTransport(unix_events._UnixWritePipeTransport):  # type: ignore[misc]
    """The writing end of a pipe, a FIFO, a socket or a character device.

    ``write`` is native while the pipe has room, and leaves the rest to asyncio's method.
    """

    _write_as_asyncio = unix_events._UnixWritePipeTransport.write

    def _keep_rest(self, data: bytes, sent: int) -> None:
        # The pipe has taken `sent` bytes and is full.
        self._loop._add_writer(self._fileno, self._write_ready)
        self._buffer += memoryview(data)[sent:]
        self._maybe_pause_protocol()

    def _lose_closed_file(self) -> None:
        # Another file may have the descriptor's number by now, so nothing is written to it.
        self._conn_lost += 1
        self._fatal_error(OSError(errno.EBADF, os.strerror(errno.EBADF)), "Fatal write error on pipe transport")


_ferrio.add_pipe_methods(ReadPipeTransport, WritePipeTransport)
