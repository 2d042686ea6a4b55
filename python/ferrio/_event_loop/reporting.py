"""What the native half reports through Python: failed callbacks and transports, slow callbacks in debug mode.

Each report has the form that asyncio's handle or transport would give it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import types
from asyncio.log import logger

from .._asyncio_internals import base_events, format_helpers, futures, selector_events
from .._datagram import DatagramSocketTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._base_loop import BaseLoop

__all__ = [
    "log_failed_report",
    "report_callback_error",
    "report_failed_accept",
    "report_failed_transport",
    "report_failed_waiter",
    "run_debug",
    "runs_as_asyncio",
]

_SOURCES_HAVE_DEBUG = "debug" in inspect.signature(format_helpers._format_callback_source).parameters
# The callbacks by which asyncio's transports send. Since 3.12 a stream's has the name of the method that it calls.
_SENDS_MESSAGES = hasattr(selector_events._SelectorSocketTransport, "_write_sendmsg")
_SENDING = {"Socket": "_write_sendmsg" if _SENDS_MESSAGES else "_write_ready", "Datagram": "_sendto_ready"}


def report_callback_error(handle: Any, exception: BaseException) -> None:
    """Tell the loop's exception handler that a callback failed, as ``asyncio.Handle`` does."""
    loop = handle._loop
    options = {"debug": loop.get_debug()} if _SOURCES_HAVE_DEBUG else {}
    source = format_helpers._format_callback_source(handle._callback, handle._args, **options)
    context = {"message": f"Exception in callback {source}", "exception": exception, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


def report_failed_accept(loop: BaseLoop, exception: BaseException, protocol: asyncio.BaseProtocol | None) -> None:
    """Tell the loop's exception handler that an accepted connection got no transport, as asyncio does in debug mode."""
    context: dict[str, Any] = {
        "message": "Error on transport creation for incoming connection",
        "exception": exception,
    }
    if protocol is not None:
        context["protocol"] = protocol
    loop.call_exception_handler(context)


def report_failed_waiter(waiter: asyncio.Future[None], exception: BaseException) -> None:
    """Tell the exception handler of a future's loop that setting the future's result failed."""
    set_result = futures._set_result_unless_cancelled
    report_callback_error(asyncio.Handle(set_result, (waiter, None), waiter.get_loop()), exception)


def report_failed_transport(
    loop: BaseLoop, transport: asyncio.BaseTransport, is_reading: bool, is_over: bool, exception: BaseException
) -> None:
    """Tell the loop's exception handler that reading or sending failed, as the handle of asyncio's transport would.

    Args:
        is_over: asyncio would have cancelled the handle by now, and a cancelled handle shows no callback.
    """
    kind = "Datagram" if isinstance(transport, DatagramSocketTransport) else "Socket"
    original = getattr(selector_events, f"_Selector{kind}Transport")
    method = "_read_ready" if is_reading else _SENDING[kind]
    handle = asyncio.Handle(types.MethodType(getattr(original, method), transport), (), loop)
    if is_over:
        handle.cancel()
    report_callback_error(handle, exception)


def log_failed_report(exception: BaseException) -> None:
    """Log an exception that a report raised, in the words that asyncio has for a failing exception handler."""
    logger.error("Unhandled error in exception handler", exc_info=exception)


def runs_as_asyncio(handle_class: Any) -> bool:
    """Whether asyncio's class of handles has its own ``_run``; a program may have replaced it before the import."""
    code = getattr(handle_class._run, "__code__", None)
    own = handle_class.cancel.__code__.co_filename
    return code is not None and (code.co_filename, code.co_name) == (own, "_run")


def run_debug(handle: Any) -> None:
    """Run a handle in debug mode: it is the loop's current handle meanwhile, and logged if it takes long."""
    loop = handle._loop
    try:
        loop._current_handle = handle
        started = time.monotonic()
        handle._run()
        took = time.monotonic() - started
        if took >= loop.slow_callback_duration:
            base_events.logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), took)
    finally:
        loop._current_handle = None
        # An exception's traceback holds this frame: without `del`, it would hold the handle too, in a cycle.
        del handle
