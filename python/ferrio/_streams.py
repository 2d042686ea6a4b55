"""``StreamReader``, ``StreamWriter``, ``StreamReaderProtocol``, and what makes them: asyncio's, over native state.

Each class combines a core from ``_ferrio`` with asyncio's class. Its ``Function`` and ``CoroutineFunction`` attributes
run natively for instances of exactly that class; for instances of a subclass they run asyncio's code, which calls the
methods that the subclass overrides. What runs once for each connection is asyncio's code.
"""

from __future__ import annotations

import asyncio
import asyncio.streams
import types
from abc import ABCMeta

from . import _ferrio
from ._copying import copied_by

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
]


class _Globals(dict[str, "Any"]):
    """The global names of ``asyncio.streams``, with Ferrio's classes in place of those that they replace."""

    def __missing__(self, name: str) -> Any:
        return vars(asyncio.streams)[name]


_globals = _Globals()


def _with_our_classes(function: Any) -> Any:
    """asyncio's *function*, which makes instances of Ferrio's classes."""
    copy = types.FunctionType(
        function.__code__, _globals, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy


TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import StreamReader, StreamReaderProtocol, StreamWriter, open_connection, start_server
    from asyncio.streams import open_unix_connection, start_unix_server
    from typing import Any
else:

    class _StreamReaderType(ABCMeta):
        """The class of ``StreamReader``: after ``install()``, asyncio's own readers count as instances of it.

        ``asyncio.StreamWriter`` demands a reader of the class that it finds under that name. While a program has
        replaced a method of the class that other methods call, asyncio's code runs for all readers.
        """

        def __setattr__(cls, name, value):
            super().__setattr__(name, value)
            cls._note_change(name)

        def __delattr__(cls, name):
            super().__delattr__(name)
            cls._note_change(name)

        def _note_change(cls, name):
            if name in _ferrio.STREAM_READER_METHODS and cls is StreamReader:
                _ferrio._note_stream_reader_class(_methods(cls) != _reader_methods)

        def __instancecheck__(cls, instance):
            return type.__instancecheck__(cls, instance) or (
                cls is StreamReader and isinstance(instance, _asyncios_reader)
            )

        def __subclasscheck__(cls, subclass):
            return type.__subclasscheck__(cls, subclass)

    _asyncios_reader = asyncio.StreamReader

    @copied_by("_limit", "_loop", "_buffer", "_eof", "_waiter", "_exception", "_transport", "_paused")
    class StreamReader(_ferrio.StreamReaderCore, asyncio.StreamReader, metaclass=_StreamReaderType):
        """The receiving half of a stream. Follows ``asyncio.StreamReader``."""

        feed_data = _ferrio.Function("StreamReader.feed_data", asyncio.StreamReader.feed_data)
        at_eof = _ferrio.Function("StreamReader.at_eof", asyncio.StreamReader.at_eof)
        _maybe_resume_transport = _ferrio.Function(
            "StreamReader._maybe_resume_transport", asyncio.StreamReader._maybe_resume_transport
        )
        read = _ferrio.CoroutineFunction("StreamReader.read", asyncio.StreamReader.read)
        readexactly = _ferrio.CoroutineFunction("StreamReader.readexactly", asyncio.StreamReader.readexactly)
        readuntil = _ferrio.CoroutineFunction("StreamReader.readuntil", asyncio.StreamReader.readuntil)
        readline = _ferrio.CoroutineFunction("StreamReader.readline", asyncio.StreamReader.readline)
        __anext__ = _ferrio.CoroutineFunction("StreamReader.__anext__", asyncio.StreamReader.__anext__)

    def _methods(cls):
        """The methods that others call, as they stand in the dictionaries of the class and of those it derives from."""
        found = [vars(base) for base in reversed(cls.__mro__)]
        return [[names[name] for names in found if name in names][-1:] for name in _ferrio.STREAM_READER_METHODS]

    _reader_methods = _methods(StreamReader)

    @copied_by("_transport", "_protocol", "_reader", "_loop")
    class StreamWriter(_ferrio.StreamWriterCore, asyncio.StreamWriter):
        """The sending half of a stream. Follows ``asyncio.StreamWriter``."""

        write = _ferrio.Function("StreamWriter.write", asyncio.StreamWriter.write)
        writelines = _ferrio.Function("StreamWriter.writelines", asyncio.StreamWriter.writelines)
        is_closing = _ferrio.Function("StreamWriter.is_closing", asyncio.StreamWriter.is_closing)
        drain = _ferrio.CoroutineFunction("StreamWriter.drain", asyncio.StreamWriter.drain)

    @copied_by("_loop", "_stream_reader_wr", "_paused", "_connection_lost", "_drain_waiters")
    class StreamReaderProtocol(_ferrio.StreamReaderProtocolCore, asyncio.StreamReaderProtocol):
        """The protocol between a transport and a ``StreamReader``. Follows ``asyncio.StreamReaderProtocol``."""

        connection_made = _with_our_classes(asyncio.StreamReaderProtocol.connection_made)
        data_received = _ferrio.Function(
            "StreamReaderProtocol.data_received", asyncio.StreamReaderProtocol.data_received
        )
        _drain_helper = _ferrio.CoroutineFunction(
            "FlowControlMixin._drain_helper", asyncio.StreamReaderProtocol._drain_helper
        )

    _globals.update(StreamReader=StreamReader, StreamWriter=StreamWriter, StreamReaderProtocol=StreamReaderProtocol)

    open_connection = _ferrio.CoroutineFunction("open_connection", _with_our_classes(asyncio.open_connection))
    start_server = _ferrio.CoroutineFunction("start_server", _with_our_classes(asyncio.start_server))
    open_unix_connection = _ferrio.CoroutineFunction(
        "open_unix_connection", _with_our_classes(asyncio.open_unix_connection)
    )
    start_unix_server = _ferrio.CoroutineFunction("start_unix_server", _with_our_classes(asyncio.start_unix_server))
