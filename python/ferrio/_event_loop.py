"""``Loop``: the native core joined with asyncio's own Unix event loop.

The core (``_ferrio.LoopCore``) comes first in the method resolution order: scheduling, turning, the watching
of descriptors and the state behind them are native. What runs once per loop or once per connection is
asyncio's own code of the running interpreter, over the native parts: ``create_connection`` with happy
eyeballs, ``create_server``, executors, exception handlers, asynchronous generators, subprocesses, pipes.
"""

from __future__ import annotations

import _socket
import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.coroutines
import asyncio.events
import asyncio.format_helpers
import asyncio.futures
import asyncio.selector_events
import asyncio.sslproto
import asyncio.trsock
import asyncio.unix_events
import contextlib
import contextvars
import errno
import functools
import inspect
import os
import selectors
import signal
import socket
import sys
import threading
import time
import types
import weakref
from asyncio.log import logger
from collections.abc import AsyncGenerator, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from . import _ferrio
from ._datagram import NATIVE_FAMILIES, DatagramSocketTransport
from ._fork import follow_forks
from ._given_selector import run_over
from ._pipe import ReadPipeTransport, WritePipeTransport
from ._resolve import numeric_address
from ._selector import ReactorSelector
from ._sockets import ConnectionMethods
from ._statistics import Statistics
from ._subprocess import Children, SubprocessTransport, has_other_watcher
from ._transport import SocketTransport
from ._transports import Transports

__all__ = ["Loop", "report_callback_error"]

_SETS_UP_RUNS = hasattr(asyncio.base_events.BaseEventLoop, "_run_forever_setup")
# Since 3.15 a connection's callbacks share one context.
_CONNECTIONS_HAVE_CONTEXTS = sys.version_info >= (3, 15)
# Whether `create_task` hands keywords that it does not know on to the task.
_TAKES_EAGER_START = "kwargs" in inspect.signature(asyncio.base_events.BaseEventLoop.create_task).parameters
# Earlier, create_connection() leaves the socket of a factory that fails to its destructor, which warns.
_CLOSES_AFTER_A_FAILED_FACTORY = sys.version_info >= (3, 14)
_RUN_ONCE = _ferrio.LoopCore._run_once
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# asyncio's callbacks that send; since 3.12 a stream's is known by what it calls.
_SENDS_MESSAGES = hasattr(asyncio.selector_events._SelectorSocketTransport, "_write_sendmsg")  # type: ignore[attr-defined]
_SENDING = {"Socket": "_write_sendmsg" if _SENDS_MESSAGES else "_write_ready", "Datagram": "_sendto_ready"}
_SOURCES_HAVE_DEBUG = "debug" in inspect.signature(asyncio.format_helpers._format_callback_source).parameters


# Sockets of these families have names that the native half can show.
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})
# A program that replaces one of these on its loop, or the class of sockets, gets asyncio's own steps.
_WATCHING = frozenset({"_add_reader", "_add_writer"})
_OVERRIDABLE = _WATCHING | {
    "sock_connect",
    "getaddrinfo",
    "create_task",
    "_make_socket_transport",
    "_accept_connection2",
}
_NAMED_OPTIONS = frozenset(asyncio.base_events.BaseEventLoop.create_connection.__kwdefaults__ or ())


class Loop(_ferrio.LoopCore, ConnectionMethods, asyncio.unix_events._UnixSelectorEventLoop):
    """An asyncio event loop whose core is native.

    Args:
        selector: A selector of one's own, which the loop asks: all its methods are asyncio's then, and nothing of it is
            native. None: Ferrio polls the kernel itself.
        native_tasks: Whether ``create_task`` and ``create_future`` make ``ferrio.Task`` and ``ferrio.Future``, or
            asyncio's own. None: the former, unless the environment variable ``FERRIO_NATIVE_TASKS`` is ``0``.

    A loop belongs to the thread that runs it; from others only ``call_soon_threadsafe`` may be called.
    Follows ``asyncio.SelectorEventLoop``.
    """

    if TYPE_CHECKING:
        # asyncio's own state and methods, which its type stubs leave out.
        _internal_fds: int
        _signal_handlers: dict[int, asyncio.Handle]
        _watcher: Any
        _task_factory: Callable[..., Any] | None
        _child_watcher_callback: Callable[[int, int, Any], None]

        def _accept_connection2(self, *args: Any, **options: Any) -> Coroutine[Any, Any, None]: ...
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _check_running(self) -> None: ...
        def _ensure_fd_no_transport(self, fd: int | socket.socket) -> None: ...
        def _read_from_self(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...

    def __init__(
        self,
        selector: selectors.BaseSelector | None = None,
        *,
        native_tasks: bool | None = None,
    ) -> None:
        if selector is not None:
            run_over(self, selector, Loop, _ferrio.LoopCore, ConnectionMethods)
            return
        is_new = "_pid" not in self.__dict__
        try:
            self._set_up(native_tasks)
        except BaseException:
            if is_new:
                # What is not whole has no descriptors, and its destructor nothing to do.
                self._closed = True
                self._release()
                for end in (self._ssock, self._csock):
                    if end is not None:
                        end.close()
            raise

    def _set_up(self, native_tasks: bool | None) -> None:
        if native_tasks is None:
            native_tasks = os.environ.get("FERRIO_NATIVE_TASKS") != "0"
        self._native_tasks = native_tasks and _ferrio.HAS_NATIVE_TASKS
        self._starts_eagerly = _TAKES_EAGER_START
        self._has_other_call_soon = type(self).call_soon is not _ferrio.LoopCore.call_soon
        self._has_other_waits = any(
            getattr(type(self), name) is not getattr(_ferrio.LoopCore, name)
            for name in ("create_future", "call_later", "call_at")
        )
        self._pid = os.getpid()
        # The signal handlers' wake-up descriptor that was set before ours.
        self._outer_wakeup_fd = -1
        self._outer_wakeup_file: tuple[int, int] | None = None
        self._children = Children(self)
        # Sockets that were given to the loop and have no transport yet.
        self._given_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(ReactorSelector(self))  # type: ignore[arg-type]
        if type(self)._run_once in (_RUN_ONCE, vars(Loop).get("_run_once")):
            # Found before what somebody puts into the class: nest_asyncio has asyncio's turn there, in Python.
            self._run_once = functools.partial(_turn, weakref.ref(self))  # type: ignore[method-assign]
        follow_forks(self)

    # --- the life of the loop -------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until ``stop()`` is called.

        Raises:
            RuntimeError: The loop is closed or running, or another loop runs in this thread.
        """
        # Asked before: what else the setup fails with must not leave the loop set up.
        self._check_closed()
        self._check_running()
        try:
            self._run_forever_setup()
            self._run_until_stopped(self._signal_descriptor())
        finally:
            try:
                self._run_forever_cleanup()
            except MemoryError:
                # Before 3.14 it needs memory; the loop must not stay the running one for want of a little.
                self._run_forever_cleanup()
                raise

    if not _SETS_UP_RUNS:
        _old_agen_hooks: Any = None

        def _run_forever_setup(self) -> None:
            self._check_closed()
            self._check_running()
            self._set_coroutine_origin_tracking(self._debug)
            self._old_agen_hooks = sys.get_asyncgen_hooks()
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            asyncio.events._set_running_loop(self)

        def _run_forever_cleanup(self) -> None:
            self._stopping = False
            self._thread_id = None
            asyncio.events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            if self._old_agen_hooks is not None:
                sys.set_asyncgen_hooks(*self._old_agen_hooks)
                self._old_agen_hooks = None

    def close(self) -> None:
        """Close the loop: pending callbacks are dropped, descriptors released.

        Raises:
            RuntimeError: The loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if os.getpid() != self._pid:
            # A fork that Python was not told of: the epoll instance is the parent's too, and must not be changed.
            self._release()
        self._children.forget()
        ours = None if self._csock is None else self._csock.fileno()
        super().close()
        if ours is not None and self._wakeup_descriptor() == ours:
            # An exit on the way into or out of a handler has left it.
            self._put_wakeup_descriptor_back(self._take_outer_descriptor())
        self._release()

    def statistics(self) -> Statistics:
        """What the loop has done so far: counters that are always on. From any thread."""
        *counters, lag, max_lag = self._counters()
        return Statistics._make([*counters, lag / 1e9, max_lag / 1e9])

    # --- waking up and signals ------------------------------------------------------------------------------

    # The core has a wake-up descriptor of its own; this pair is what a signal writes to. Loops of the main thread have
    # one.
    _ssock: socket.socket | None = None
    _csock: socket.socket | None = None

    def _make_self_pipe(self) -> None:
        self._internal_fds += 1
        if threading.current_thread() is threading.main_thread():
            # Out of descriptors: it is tried again when it is needed.
            with contextlib.suppress(OSError):
                self._signal_pair()

    def _close_self_pipe(self) -> None:
        if self._ssock is not None and self._csock is not None:
            self._remove_reader(self._ssock)
            self._note_signal_pair(False, False)
            self._ssock.close()
            self._csock.close()
            self._ssock = self._csock = None
        self._internal_fds -= 1

    def _signal_pair(self) -> socket.socket:
        """The end that signals write to, of a pair that the loop watches."""
        if self._csock is None:
            self._check_closed()
            self._ssock, self._csock = socket.socketpair()
            self._ssock.setblocking(False)
            self._csock.setblocking(False)
            # The socket, not its number: of a forgotten loop the collector may close it before it closes the loop.
            self._add_reader(self._ssock, self._read_from_self)
            self._note_signal_pair(True, False)
        return self._csock

    def _signal_descriptor(self) -> int:
        """Where signals are to be written while the loop runs; -1: nowhere, or where they are written already."""
        if self._signal_handlers or threading.current_thread() is not threading.main_thread():
            return -1
        try:
            return self._signal_pair().fileno()
        except OSError:
            # Out of descriptors. It is a rare moment that is lost, and the loop can run.
            return -1

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Call ``callback(*args)`` on the loop when the process gets signal *sig*. Main thread only.

        Raises:
            TypeError: *callback* is a coroutine or a coroutine function.
            ValueError: There is no such signal.
            RuntimeError: The signal cannot be caught, or this is not the main thread.
        """
        ours = self._signal_pair().fileno()
        is_first = not self._signal_handlers and threading.current_thread() is threading.main_thread()
        if is_first:
            # Noted before anything changes: an exit in between leaves it known.
            outer = self._wakeup_descriptor()
            self._outer_wakeup_file = _file_behind(outer)
            self._outer_wakeup_fd = -1 if outer == ours else outer
        try:
            super().add_signal_handler(sig, callback, *args)
        except BaseException:
            if is_first and not self._signal_handlers and self._wakeup_descriptor() != outer:
                self._put_wakeup_descriptor_back(outer)
            raise
        finally:
            self._note_signal_pair(True, bool(self._signal_handlers))

    def remove_signal_handler(self, sig: int) -> bool:
        """Restore the default action of signal *sig*; whether there was a handler.

        With the last handler goes the wake-up descriptor, and the one that was set before comes back.
        """
        removed: bool = super().remove_signal_handler(sig)
        if not removed or self._signal_handlers:
            return removed
        self._note_signal_pair(True, False)
        outer = self._take_outer_descriptor()
        if outer != -1:
            self._put_wakeup_descriptor_back(outer)
        elif self._lets_signals_wake and self._csock is not None:
            signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)
        return removed

    def _take_outer_descriptor(self) -> int:
        """The wake-up descriptor from before the handlers; -1 for none."""
        outer, self._outer_wakeup_fd = self._outer_wakeup_fd, -1
        # Otherwise its owner has closed it, and the number may be somebody else's by now.
        return outer if _file_behind(outer) == self._outer_wakeup_file else -1

    # --- subprocesses ---------------------------------------------------------------------------------------

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        pipes = (stdin, stdout, stderr, bufsize)
        if has_other_watcher(self):
            other: asyncio.SubprocessTransport = await super()._make_subprocess_transport(  # type: ignore[misc]
                protocol, args, shell, *pipes, extra, **kwargs
            )
            return other
        waiter = self.create_future()
        transport = SubprocessTransport(self, protocol, args, shell, *pipes, waiter=waiter, extra=extra, **kwargs)
        try:
            self._children.watch(transport)
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await asyncio.shield(transport._wait())
            raise
        finally:
            # It keeps the exception whose traceback keeps this frame.
            del waiter
        return transport

    # --- forking --------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        super()._after_fork()
        self._pid = os.getpid()
        if self._ssock is not None and self._csock is not None:
            # A signal of the child's is not to be heard by the parent, nor the other way round.
            for ours, new in zip((self._ssock, self._csock), socket.socketpair(), strict=True):
                with new:
                    new.setblocking(False)
                    os.dup2(new.fileno(), ours.fileno(), inheritable=False)

    # Stream transports are the native half's; others are entered here.
    @property
    def _transports(self) -> Transports:
        return self._known_transports

    @_transports.setter
    def _transports(self, _table: MutableMapping[int, asyncio.BaseTransport]) -> None:
        self._known_transports = Transports(self)

    # --- transports -----------------------------------------------------------------------------------------

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Transport:
        if not self._moves_bytes_of(sock):
            given = {"extra": extra, "server": server} | ({"context": context} if _CONNECTIONS_HAVE_CONTEXTS else {})
            theirs: asyncio.Transport = super()._make_socket_transport(  # type: ignore[misc]
                sock, protocol, waiter, **given
            )
            return theirs
        return self._make_native_transport(sock, protocol, waiter, extra, server, context)

    def _make_native_transport(
        self, sock: socket.socket, protocol: asyncio.BaseProtocol, *rest: Any
    ) -> SocketTransport:
        self._ensure_fd_no_transport(sock)
        transport = SocketTransport(self, sock, protocol, *rest)
        if sock in self._given_sockets:
            self._given_sockets.discard(sock)
            # Who has given it may still use it.
            transport._share()
        return transport

    def _moves_bytes_of(self, sock: socket.socket) -> bool:
        """Whether a socket's transport can be native.

        A socket with methods of its own has asyncio's transport, which calls them; so has a program that watches
        descriptors itself, which is asked to.
        """
        return _ferrio.is_plain_socket(sock) and _WATCHING.isdisjoint(self.__dict__)

    def _note_given(self, sock: socket.socket | None) -> None:
        if type(sock) is _ferrio.SOCKET:
            self._given_sockets.add(sock)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Transport:
        if not self._moves_bytes_of(rawsock):
            given = {"extra": extra, "server": server} | ({"context": context} if _CONNECTIONS_HAVE_CONTEXTS else {})
            theirs: asyncio.Transport = super()._make_ssl_transport(  # type: ignore[misc]
                rawsock, protocol, sslcontext, waiter, **given, **options
            )
            return theirs
        self._ensure_fd_no_transport(rawsock)
        server_side = options.pop("server_side", False)
        server_hostname = options.pop("server_hostname", None)
        ssl_protocol = asyncio.sslproto.SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,  # type: ignore[arg-type]
            server_side,
            server_hostname,
            **options,
        )
        self._make_native_transport(rawsock, ssl_protocol, None, extra, server, context)
        transport: asyncio.Transport = ssl_protocol._app_transport
        return transport

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> ReadPipeTransport:
        return ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> WritePipeTransport:
        return WritePipeTransport(self, pipe, protocol, waiter, extra)

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        if sock.family not in NATIVE_FAMILIES or not self._moves_bytes_of(sock):
            transport: asyncio.DatagramTransport = super()._make_datagram_transport(  # type: ignore[misc]
                sock, protocol, address, waiter, extra
            )
            return transport
        self._ensure_fd_no_transport(sock)
        return DatagramSocketTransport(self, sock, protocol, address, waiter, extra)

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
        context: contextvars.Context | None = None,
    ) -> None:
        # The socket, not its number, is registered: it is found again when somebody else has closed it.
        timeouts = (ssl_handshake_timeout, ssl_shutdown_timeout)
        if not sslcontext and self._is_plain(sock):
            self._add_reader(
                sock, self._accept, SocketTransport, protocol_factory, sock, server, backlog, *timeouts, context
            )
        else:
            accepting = (protocol_factory, sock, sslcontext, server, backlog, *timeouts, context)
            self._add_reader(sock, self._accept_connection, *accepting)

    def _stop_serving(self, sock: socket.socket) -> None:
        if sock.fileno() == -1:
            self._remove_reader(sock)
        else:
            super()._stop_serving(sock)  # type: ignore[misc]

    def _accept_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
        context: contextvars.Context | None = None,
    ) -> None:
        # As asyncio's, but for the lack of a resource: see _accept_later().
        for _ in range(backlog + 1):
            try:
                conn, addr = sock.accept()
                if self._debug:
                    logger.debug("%r got a new connection from %r: %r", server, addr, conn)
                conn.setblocking(False)
            except ConnectionAbortedError:
                continue
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_RESOURCES:
                    raise
                timeouts = (ssl_handshake_timeout, ssl_shutdown_timeout)
                self._accept_later(exc, protocol_factory, sock, sslcontext, server, backlog, *timeouts, context)
                return
            options: dict[str, Any] = {}
            if _CONNECTIONS_HAVE_CONTEXTS:
                options["context"] = context.copy() if context is not None else None
            accept = self._accept_connection2(
                protocol_factory,
                conn,
                {"peername": addr},
                sslcontext,
                server,
                ssl_handshake_timeout,
                ssl_shutdown_timeout,
                **options,
            )
            self.create_task(accept, **options)

    def _accept_later(self, exhausted: OSError, *accepting: Any) -> None:
        # Reported once, where asyncio does for each place in the backlog; the listener is left alone for a second.
        sock = accepting[1]
        self.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": exhausted,
                "socket": asyncio.trsock.TransportSocket(sock),
            }
        )
        self._remove_reader(sock.fileno())
        if not _CONNECTIONS_HAVE_CONTEXTS:
            accepting = accepting[:-1]
        self.call_later(asyncio.constants.ACCEPT_RETRY_DELAY, self._start_serving, *accepting)

    def _is_plain(self, sock: socket.socket) -> bool:
        """Whether nobody has put anything of their own between the loop and the socket."""
        return (
            type(self) is Loop
            and socket.socket is _ferrio.SOCKET
            and _ferrio.is_plain_socket(sock)
            and sock.family in _FAMILIES
            and _OVERRIDABLE.isdisjoint(self.__dict__)
        )

    @functools.wraps(asyncio.base_events.BaseEventLoop.create_connection)
    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        connection = None
        if type(host) is str and type(port) is int and 0 <= port < 65536 and self._connects_plainly(options):
            connection = self._connect(host, port)
        if connection is None:
            self._note_given(options.get("sock"))
            made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_connection(
                protocol_factory,
                host,  # type: ignore[arg-type]
                port,  # type: ignore[arg-type]
                **options,
            )
            return made
        future = self.create_future()
        try:
            if self._foresee(connection, future):
                await future
            else:
                number = connection.fileno()
                self._add_writer(number, connection, future)
                try:
                    await future
                finally:
                    self._remove_writer(number)
        except BaseException:
            # The exception's traceback keeps this frame, and with it the connection.
            connection.close()
            raise
        finally:
            # It keeps the exception, too: left in the frame, it would be a cycle.
            del future
        try:
            protocol = protocol_factory()
        except BaseException:
            if _CLOSES_AFTER_A_FAILED_FACTORY:
                connection.close()
            else:
                connection.abandon()
            raise
        waiter = self.create_future()
        transport = self._begin(SocketTransport, connection, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        finally:
            del waiter
        return transport, protocol

    @functools.wraps(asyncio.base_events.BaseEventLoop.connect_accepted_socket)
    async def connect_accepted_socket(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self._note_given(sock)
        made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().connect_accepted_socket(
            protocol_factory, sock, **options
        )
        return made

    @functools.wraps(asyncio.unix_events._UnixSelectorEventLoop.create_unix_connection)
    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self._note_given(options.get("sock"))
        made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await super().create_unix_connection(
            protocol_factory, path, **options
        )
        return made

    def _connects_plainly(self, options: dict[str, Any]) -> bool:
        """Whether a connection is asked for that needs nothing but an address, and everything is what it was."""
        return (
            type(self) is Loop
            and not self._debug
            and socket.socket is _ferrio.SOCKET
            and asyncio.base_events.socket is socket  # type: ignore[attr-defined, comparison-overlap]
            and _ferrio.SOCKET.connect is _socket.socket.connect
            and _OVERRIDABLE.isdisjoint(self.__dict__)
            and (not options or (not any(options.values()) and options.keys() <= _NAMED_OPTIONS))
        )

    # --- names ----------------------------------------------------------------------------------------------

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolve *host* and *port*; numeric ones at once, others in the default executor.

        Raises:
            socket.gaierror: The name does not resolve.
        """
        self._check_closed()
        if numeric_address(host, port) and not self._debug:
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        result: list[tuple[Any, ...]] = await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )
        return result


def _turn(loop_reference: weakref.ref[Loop]) -> None:
    """One turn of a loop, within a turn of the same loop too: its task is not the current one meanwhile."""
    loop = loop_reference()
    if loop is None:
        return
    outer = asyncio.current_task(loop)
    if outer is None:
        _RUN_ONCE(loop)
        return
    asyncio.tasks._leave_task(loop, outer)
    try:
        _RUN_ONCE(loop)
    finally:
        asyncio.tasks._enter_task(loop, outer)


def _file_behind(fd: int) -> tuple[int, int] | None:
    """What tells an open file from another that has its descriptor's number later."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def report_callback_error(handle: asyncio.Handle, exception: BaseException) -> None:
    """Tell the loop's exception handler that a callback failed, as ``asyncio.Handle`` does."""
    loop = handle._loop  # type: ignore[attr-defined]
    options = {"debug": loop.get_debug()} if _SOURCES_HAVE_DEBUG else {}
    source = asyncio.format_helpers._format_callback_source(
        handle._callback,  # type: ignore[attr-defined]
        handle._args,
        **options,
    )
    context = {"message": f"Exception in callback {source}", "exception": exception, "handle": handle}
    if handle._source_traceback:  # type: ignore[attr-defined]
        context["source_traceback"] = handle._source_traceback  # type: ignore[attr-defined]
    loop.call_exception_handler(context)


def report_failed_welcome(loop: Loop, exception: BaseException, protocol: asyncio.BaseProtocol | None) -> None:
    """Tell the loop's exception handler that an accepted connection came to nothing: asyncio does in debug mode."""
    context: dict[str, Any] = {
        "message": "Error on transport creation for incoming connection",
        "exception": exception,
    }
    if protocol is not None:
        context["protocol"] = protocol
    loop.call_exception_handler(context)


def report_failed_waiter(waiter: asyncio.Future[None], exception: BaseException) -> None:
    """Tell the exception handler of a future's loop that it could not be given its result."""
    set_result = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
    report_callback_error(asyncio.Handle(set_result, (waiter, None), waiter.get_loop()), exception)


def report_failed_transport(
    loop: Loop, transport: asyncio.BaseTransport, is_reading: bool, is_over: bool, exception: BaseException
) -> None:
    """Tell the loop's exception handler that reading or sending failed, as the handle would that asyncio has for it.

    Args:
        is_over: asyncio would have cancelled the handle by now, and a cancelled handle knows no callback.
    """
    kind = "Datagram" if isinstance(transport, DatagramSocketTransport) else "Socket"
    theirs = getattr(asyncio.selector_events, f"_Selector{kind}Transport")
    method = "_read_ready" if is_reading else _SENDING[kind]
    handle = asyncio.Handle(types.MethodType(getattr(theirs, method), transport), (), loop)
    if is_over:
        handle.cancel()
    report_callback_error(handle, exception)


def log_failed_report(exception: BaseException) -> None:
    """Log what came of telling an exception handler, in asyncio's words for a handler that fails."""
    logger.error("Unhandled error in exception handler", exc_info=exception)


def run_debug(handle: asyncio.Handle) -> None:
    """Run a handle in debug mode: it is the loop's current one, and is reported when it takes long."""
    loop = handle._loop  # type: ignore[attr-defined]
    try:
        loop._current_handle = handle
        started = time.monotonic()
        handle._run()
        took = time.monotonic() - started
        if took >= loop.slow_callback_duration:
            asyncio.base_events.logger.warning(  # type: ignore[attr-defined]
                "Executing %s took %.3f seconds",
                asyncio.base_events._format_handle(handle),  # type: ignore[attr-defined]
                took,
            )
    finally:
        loop._current_handle = None
        # An exception's traceback leads to this frame: a handle left in it would be a cycle.
        del handle
