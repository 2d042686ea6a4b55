//! The native half of `ferrio`'s datagram transport: one datagram a call, to its address and from it; flow control.
//!
//! `DatagramTransport` is a subclass of `asyncio.Transport`, as asyncio's own is; `ferrio._datagram.DatagramSocketTransport`
//! completes it with what runs once per endpoint or seldom (construction, `repr`, errors, the end).
//!
//! The descriptor is watched level-triggered: nothing pauses the reading of most endpoints, so its registration never
//! changes, and one receive for each report is enough. The system calls are the transport's own. Before each it makes sure
//! that its key still holds the number (`Inner::ensure_number`), so that no datagram goes out on, or is taken from, a socket
//! that has got the number of one that was closed from outside.

mod address;
mod close;
mod ctype;
mod read;
mod state;
mod write;

pub(crate) use ctype::register;

use ferrio_engine::backend::{Interest, Key};
use pyo3::intern;
use pyo3::prelude::*;

use crate::core::{Entry, Exit, LoopCore, leaves_loop, settle};
use crate::ffi::errors::while_handling;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::net::transport::{Callback, report_failed_callback};
use state::State;

/// Runs a transport whose descriptor can make progress. In asyncio's order and contexts: reading, then writing, each as a
/// callback of its own, whose exception is reported and ends nothing.
///
/// # Errors
/// What leaves the loop.
fn run_ready(
    py: Python<'_>,
    core: &LoopCore,
    transport: Option<Object>,
    key: Key,
    ready: Interest,
) -> Result<(), Exit> {
    let Some(transport) = transport else { return Ok(()) };
    let transport = &transport;
    // SAFETY: sources of this kind hold datagram transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    // It lets go of the loop when it ends.
    let Some(event_loop) = state.event_loop(py) else { return Ok(()) };
    if ready.reads() {
        let ctx = state.with(py, |inner| inner.read_context.clone().filter(|_| inner.reads_under(key)));
        if let Some(ctx) = ctx {
            let read = run(py, (core, &event_loop), transport, &ctx, Callback::Read, || {
                read::ready(py, core, transport, state, key)
            });
            if read.is_err() && ready.writes() {
                // asyncio's handle of this direction would be left over in the queue.
                core.push_ready(py, Entry::ready(key, Interest::WRITE));
            }
            read?;
        }
    }
    if ready.writes() {
        let ctx = state.with(py, |inner| inner.write_context.clone().filter(|_| inner.key == Some(key)));
        if let Some(ctx) = ctx {
            run(py, (core, &event_loop), transport, &ctx, Callback::Write, || {
                write::ready(py, core, transport, state)
            })?;
        }
    }
    Ok(())
}

/// Runs one direction in its context; an exception goes where that of a callback goes.
fn run(
    py: Python<'_>,
    (core, event_loop): (&LoopCore, &Object),
    transport: &Object,
    ctx: &Object,
    callback: Callback,
    body: impl FnOnce() -> PyResult<()>,
) -> Result<(), Exit> {
    let report = |exception: &Bound<'_, PyAny>| report(py, event_loop, transport, callback, exception);
    let started = core.is_debug().then(ferrio_engine::sys::clock::now);
    let outcome = context::run_in(py, ctx, || Ok(settle(py, body(), report)?));
    let slow = started.map_or(Ok(()), |started| {
        let took = ferrio_engine::sys::clock::now().saturating_sub(started).as_secs_f64();
        transport.bind(py).call_method1(intern!(py, "_report_if_slow"), (took,)).map(drop)
    });
    settle(py, outcome.and(slow), report)
}

/// Tells the loop's exception handler of a failed callback, as `asyncio.Handle` does.
#[cold]
fn report(
    py: Python<'_>,
    event_loop: &Object,
    transport: &Object,
    callback: Callback,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: a datagram transport.
    let state = unsafe { State::of(transport.as_ptr()) };
    let is_watched = state.with(py, |inner| {
        inner.key.is_some()
            && if callback == Callback::Read { inner.reading.is_wanted() } else { inner.write_context.is_some() }
    });
    report_failed_callback(py, event_loop, transport, callback, !is_watched, exception)
}

/// Ends the transport for an error that no socket reports; what must leave the loop leaves it.
#[cold]
fn fatal(py: Python<'_>, transport: &Bound<'_, PyAny>, error: PyErr, message: &str) -> PyResult<()> {
    if leaves_loop(py, &error) {
        return Err(error);
    }
    let exception = error.into_value(py).into_bound(py).into_any();
    while_handling(py, &exception, || transport.call_method1(intern!(py, "_fatal_error"), (&exception, message)))?;
    Ok(())
}

/// Calls the protocol's `error_received`; its exception is the caller's.
#[cold]
fn error_received(py: Python<'_>, state: &State, error: PyErr) -> PyResult<()> {
    let protocol = state.with(py, |inner| inner.protocol.clone());
    let protocol = protocol.unwrap_or_else(|| crate::ffi::trampoline::none(py));
    let exception = error.into_value(py).into_bound(py).into_any();
    while_handling(py, &exception, || protocol.bind(py).call_method1(intern!(py, "error_received"), (&exception,)))?;
    Ok(())
}
