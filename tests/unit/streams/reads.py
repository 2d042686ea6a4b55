"""Reads of a ``StreamReader``, and what one that is fed by hand gives."""

import asyncio as stdlib
import itertools
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

TEXT = b"ab\r\ncd\n\r\n\r\nX"
TUPLES = sys.version_info >= (3, 13)

#: Reads until one of them says that there is no more.
READS: dict[str, Callable[[Any], Coroutine[Any, Any, bytes]]] = {
    "read(1)": lambda reader: reader.read(1),
    "read(3)": lambda reader: reader.read(3),
    "read(n=100)": lambda reader: reader.read(n=100),
    "read()": lambda reader: reader.read(),
    "readexactly(2)": lambda reader: reader.readexactly(2),
    "readexactly(n=5)": lambda reader: reader.readexactly(n=5),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(),
    "readuntil(2 bytes)": lambda reader: reader.readuntil(b"\r\n"),
    "readuntil(4 bytes)": lambda reader: reader.readuntil(separator=b"\r\n\r\n"),
    "readuntil(bytearray)": lambda reader: reader.readuntil(bytearray(b"d\n")),
    "readuntil(absent)": lambda reader: reader.readuntil(b"nowhere"),
}
if TUPLES:
    READS["readuntil(tuple)"] = lambda reader: reader.readuntil((b"\r\n\r\n", b"\n", b"d\n"))
    READS["readuntil(long and short)"] = lambda reader: reader.readuntil((b"cd\n\r\n\r", b"X"))


def splits(text: bytes, pieces: int) -> Iterator[list[bytes]]:
    """Every way to cut *text* into so many pieces."""
    for cuts in itertools.combinations(range(1, len(text)), pieces - 1):
        yield [text[begin:end] for begin, end in itertools.pairwise((0, *cuts, len(text)))]


def shown(error: BaseException | None) -> Any:
    """An error with all that it tells, and what was being handled when it was raised."""
    if error is None:
        return None
    told = {name: getattr(error, name) for name in ("partial", "expected", "consumed") if hasattr(error, name)}
    return type(error).__name__, str(error), told, shown(error.__context__)


async def read_all(reader: Any, read: Callable[[Any], Coroutine[Any, Any, bytes]]) -> list[Any]:
    """The results of one read after the other, to the first error or empty result."""
    results: list[Any] = []
    while True:
        try:
            results.append(await read(reader))
        except Exception as error:
            results.append(shown(error))
            return results
        if not results[-1]:
            return results


async def observed(namespace: Any, pieces: list[bytes], read: Any, limit: int) -> list[Any]:
    """What reads come to when each piece is fed while somebody waits."""
    reader = namespace.StreamReader(limit=limit)
    task = stdlib.create_task(read_all(reader, read))
    for piece in pieces:
        await stdlib.sleep(0)
        if not task.done():
            reader.feed_data(piece)
    await stdlib.sleep(0)
    reader.feed_eof()
    results = await task
    return [*results, bytes(reader._buffer), reader.at_eof(), reader._waiter]


WAITING = {name: READS[name] for name in ("read(3)", "read()", "readexactly(2)", "readline", "readuntil(4 bytes)")}
