"""The reads of a stream reader from the end of a wait on.

A native read waits for bytes. If its reader is native no more when it is woken (its buffer was looked at, a method was
replaced), the read goes on here: as asyncio's functions go on from their ``await``, over asyncio's attributes.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _take(reader: Any, count: int) -> bytes:
    data = bytes(memoryview(reader._buffer)[:count])
    del reader._buffer[:count]
    reader._maybe_resume_transport()
    return data


async def rest_of_read(reader: Any, count: int) -> bytes:
    """Go on with ``read(count)``."""
    if count >= 0:
        return _take(reader, count)
    blocks = []
    block = _take(reader, reader._limit)
    while block:
        blocks.append(block)
        block = await reader.read(reader._limit)
    return b"".join(blocks)


async def rest_of_readexactly(reader: Any, count: int) -> bytes:
    """Go on with ``readexactly(count)``."""
    while len(reader._buffer) < count:
        if reader._eof:
            partial = bytes(reader._buffer)
            reader._buffer.clear()
            raise asyncio.IncompleteReadError(partial, count)
        await reader._wait_for_data("readexactly")
    return _take(reader, count)


async def rest_of_readuntil(reader: Any, separators: bytes | tuple[bytes, ...], offset: int) -> bytes:
    """Go on with ``readuntil(separators)``, the shortest comes first, where *offset* bytes have been searched."""
    if isinstance(separators, bytes):
        separators = (separators,)
    while (found := _find(reader, separators, offset)) is None:
        size = len(reader._buffer)
        if size - offset >= len(separators[0]):
            # The last bytes may be the beginning of a separator.
            offset = max(0, size + 1 - len(separators[-1]))
            if offset > reader._limit:
                raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", offset)
        if reader._eof:
            partial = bytes(reader._buffer)
            reader._buffer.clear()
            raise asyncio.IncompleteReadError(partial, None)
        await reader._wait_for_data("readuntil")
    end, start = found
    if start > reader._limit:
        raise asyncio.LimitOverrunError("Separator is found, but chunk is longer than limit", start)
    chunk = reader._buffer[:end]
    del reader._buffer[:end]
    reader._maybe_resume_transport()
    return bytes(chunk)


def _find(reader: Any, separators: tuple[bytes, ...], offset: int) -> tuple[int, int] | None:
    """Where the separator that ends first ends and begins."""
    if len(reader._buffer) - offset < len(separators[0]):
        return None
    places = ((reader._buffer.find(separator, offset), separator) for separator in separators)
    return min(((start + len(separator), start) for start, separator in places if start != -1), default=None)


async def rest_of_readline(reader: Any, offset: int) -> bytes:
    """Go on with ``readline()``, where *offset* bytes have been searched."""
    try:
        return await rest_of_readuntil(reader, b"\n", offset)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        if reader._buffer.startswith(b"\n", error.consumed):
            del reader._buffer[: error.consumed + 1]
        else:
            reader._buffer.clear()
        reader._maybe_resume_transport()
        raise ValueError(error.args[0])  # noqa: B904 - asyncio's error has this context and no cause
