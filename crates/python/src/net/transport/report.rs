//! What the loop and the log are told of a transport: failed callbacks, errors that end it, slow callbacks, debug messages.

#![forbid(unsafe_code)]

use ferrio_engine::sys::clock;
use ferrio_engine::time::Nanos;
use pyo3::prelude::*;

use super::{Transport, event_loop};
use crate::core::leaves_loop;
use crate::ffi::call::{call_method, call_named};
use crate::ffi::class::Instance;
use crate::ffi::errors::while_handling;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::ffi::objects::OBJECTS;

/// A transport's callbacks of its descriptor, as asyncio registers them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    Read,
    Write,
}

/// Tells the loop's exception handler that one of a transport's callbacks has failed, as the handle would that asyncio has
/// registered for it. `is_over`: the descriptor is not watched for it any more, so that asyncio's handle is cancelled.
///
/// # Errors
/// Those of the exception handler.
#[cold]
pub(crate) fn report_failed_callback(
    py: Python<'_>,
    event_loop: &Object,
    transport: &Object,
    callback: Callback,
    is_over: bool,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let arguments = (event_loop.bind(py), transport.bind(py), callback == Callback::Read, is_over, exception);
    call_named(OBJECTS.ferrio_event_loop.bind(py)?, "report_failed_transport", arguments).map(drop)
}

/// Ends the transport for an error; what must leave the loop leaves it.
///
/// # Errors
/// What leaves the loop, and what the loop's exception handler raises.
#[cold]
pub(crate) fn fatal(py: Python<'_>, transport: &Object, error: PyErr, message: &str) -> PyResult<()> {
    if leaves_loop(py, &error) {
        return Err(error);
    }
    let exception = error.into_value(py).into_bound(py).into_any();
    while_handling(py, &exception, || {
        call_named(transport.bind(py), &names(py)._fatal_error, (&exception, message)).map(drop)
    })
}

/// asyncio's debug messages of a transport.
///
/// # Errors
/// Those of logging.
pub(crate) fn log_in_debug<T: Transport>(py: Python<'_>, transport: &Instance<T>, message: &str) -> PyResult<()> {
    if event_loop(py, transport).is_some_and(|event_loop| event_loop.is_debug()) {
        call_named(transport.bind(py), &names(py)._log_debug, (message,))?;
    }
    Ok(())
}

/// Logs a callback of a transport that has taken long; `started` is set in debug mode.
///
/// # Errors
/// Those of logging.
#[inline]
pub(crate) fn report_if_slow(py: Python<'_>, transport: &Object, started: Option<Nanos>) -> PyResult<()> {
    let Some(started) = started else { return Ok(()) };
    let took = clock::now().saturating_sub(started).as_secs_f64();
    call_named(transport.bind(py), &names(py)._report_if_slow, (took,)).map(drop)
}

/// asyncio's warning of writes to a lost connection.
///
/// # Errors
/// Those of logging.
#[cold]
pub(crate) fn warn_lost(py: Python<'_>) -> PyResult<()> {
    let logger = OBJECTS.asyncio_log.bind(py)?.getattr("logger")?;
    call_named(&logger, "warning", ("socket.send() raised exception.",)).map(drop)
}

/// Calls a method of the Python half that takes nothing.
///
/// # Errors
/// What it raises.
#[inline]
pub(crate) fn tell(py: Python<'_>, transport: &Object, method: &Py<pyo3::types::PyString>) -> PyResult<()> {
    call_method(py, method, [transport]).map(drop)
}
