"""``BaseLoop``: the type of a loop for the modules that ``Loop`` is built from.

It exists for type checkers, and lets those modules name the type without importing ``Loop``. At run time it is
``object``, so that it adds nothing to the classes that are derived from it.
"""

from __future__ import annotations

__all__ = ["BaseLoop"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import asyncio.unix_events
    import socket
    import weakref
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
    from typing import Any, Protocol

    from . import _ferrio

    class LoopWatch(Protocol):
        """What a loop tells whoever watches it."""

        def begin(self) -> None:
            """The loop is about to run."""

        def stop(self) -> None:
            """The loop is about to be closed."""

        def after_fork(self, *, is_running: bool) -> None:
            """This is a forked child; *is_running*: the loop runs in it."""

    class BaseLoop(_ferrio.LoopCore, asyncio.unix_events._UnixSelectorEventLoop):
        """The native core over asyncio's Unix loop."""

        # asyncio's private state and methods, which its type stubs leave out.
        _default_executor: Any
        _internal_fds: int
        _selector: Any
        _signal_handlers: dict[int, asyncio.Handle]
        _transports: MutableMapping[int, asyncio.BaseTransport]
        _watcher: Any
        _task_factory: Callable[..., Any] | None
        _child_watcher_callback: Callable[[int, int, Any], None]

        async def _accept_connection2(self, *args: Any, **options: Any) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _check_running(self) -> None: ...
        def _ensure_fd_no_transport(self, fd: int | socket.socket) -> None: ...
        def _ensure_resolved(self, address: Any, **options: Any) -> Awaitable[list[tuple[Any, ...]]]: ...
        def _make_datagram_transport(self, *args: Any, **options: Any) -> Any: ...
        def _make_socket_transport(self, *args: Any, **options: Any) -> Any: ...
        def _make_ssl_transport(self, *args: Any, **options: Any) -> Any: ...
        def _make_subprocess_transport(self, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]: ...
        def _read_from_self(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
        def _stop_serving(self, sock: socket.socket) -> None: ...

        # What one family of methods uses of another.
        _csock: socket.socket | None
        _watch: LoopWatch | None
        _passed_sockets: weakref.WeakSet[socket.socket]

        def _renew_signal_pair(self) -> None: ...
        def _is_customised(self) -> bool: ...
        def _note_passed_socket(self, sock: socket.socket | None) -> None: ...
        def _signal_descriptor(self) -> int: ...
        def _supports_native_transport(self, sock: socket.socket) -> bool: ...
        def _take_previous_wakeup_fd(self) -> int: ...
else:
    BaseLoop = object
