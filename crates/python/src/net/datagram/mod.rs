//! The native half of `ferrio`'s datagram transport: one datagram a call, to its address and from it; flow control.
//!
//! `DatagramTransport` is a subclass of `asyncio.Transport`, as asyncio's own is; `ferrio._datagram.DatagramSocketTransport`
//! completes it with what runs once per endpoint or seldom (construction, `repr`, errors, the end).
//!
//! The descriptor is watched level-triggered: nothing pauses the reading of most endpoints, so its registration never
//! changes, and one receive for each report is enough. The system calls are the transport's own. Before each it makes sure
//! that its key still holds the number (`Inner::descriptor`), so that no datagram goes out on, or is taken from, a socket
//! that has got the number of one that was closed from outside.

#![forbid(unsafe_code)]

mod address;
mod class;
mod close;
mod read;
mod state;
mod write;

pub(crate) use class::register;

use ferrio_engine::backend::{Interest, Key};
use ferrio_engine::sys::clock;
use pyo3::prelude::*;

use crate::core::{Entry, Exit, LoopCore, settle};
use crate::ffi::call::call_named;
use crate::ffi::class::Instance;
use crate::ffi::errors::while_handling;
use crate::ffi::names::names;
use crate::ffi::object::Object;
use crate::handle::context;
use crate::net::transport::{Callback, event_loop, report_failed_callback, report_if_slow, with, with_common};
use class::Endpoint;

/// Runs a transport whose descriptor can make progress. In asyncio's order and contexts: reading, then writing, each as a
/// callback of its own, whose exception is reported and ends nothing.
///
/// # Errors
/// What leaves the loop.
fn on_ready(py: Python<'_>, core: &LoopCore, object: Option<Object>, key: Key, ready: Interest) -> Result<(), Exit> {
    let Some(Ok(transport)) = object.map(Endpoint::from_object) else { return Ok(()) };
    let transport = &transport;
    // A transport that has ended has no loop any more.
    let Some(event_loop) = event_loop(py, transport) else { return Ok(()) };
    if ready.reads() {
        let ctx = with(py, transport, |inner| inner.read_context.clone().filter(|_| inner.reads_under(key)));
        if let Some(ctx) = ctx {
            let read =
                run(py, &event_loop, transport, &ctx, Callback::Read, || read::ready(py, &event_loop, transport, key));
            if read.is_err() && ready.writes() {
                // asyncio's handle of this direction would be left over in the queue.
                core.push_ready(py, Entry::ready(key, Interest::WRITE));
            }
            read?;
        }
    }
    if ready.writes() {
        let ctx = with(py, transport, |inner| inner.write_context.clone().filter(|_| inner.common.key == Some(key)));
        if let Some(ctx) = ctx {
            run(py, &event_loop, transport, &ctx, Callback::Write, || write::ready(py, &event_loop, transport))?;
        }
    }
    Ok(())
}

/// Runs one direction in its context; an exception goes where that of a callback goes.
fn run(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    transport: &Endpoint,
    ctx: &Object,
    callback: Callback,
    body: impl FnOnce() -> PyResult<()>,
) -> Result<(), Exit> {
    let report = |exception: &Bound<'_, PyAny>| report(py, event_loop, transport, callback, exception);
    let started = event_loop.is_debug().then(clock::now);
    let outcome = context::run_in(py, ctx, || Ok(settle(py, body(), report)?));
    let slow = report_if_slow(py, transport.object(), started);
    settle(py, outcome.and(slow), report)
}

/// Tells the loop's exception handler of a failed callback, as `asyncio.Handle` does.
#[cold]
fn report(
    py: Python<'_>,
    event_loop: &Instance<LoopCore>,
    transport: &Endpoint,
    callback: Callback,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let is_watched = with(py, transport, |inner| {
        inner.common.key.is_some()
            && match callback {
                Callback::Read => inner.common.reading.is_wanted(),
                Callback::Write => inner.write_context.is_some(),
            }
    });
    report_failed_callback(py, event_loop.object(), transport.object(), callback, !is_watched, exception)
}

/// Calls the protocol's `error_received`; its exception is the caller's.
#[cold]
fn error_received(py: Python<'_>, transport: &Endpoint, error: PyErr) -> PyResult<()> {
    let protocol = with_common(py, transport, |common| common.protocol.clone());
    let protocol = protocol.unwrap_or_else(|| Object::none(py));
    let exception = error.into_value(py).into_bound(py).into_any();
    while_handling(py, &exception, || call_named(protocol.bind(py), &names(py).error_received, (&exception,)))?;
    Ok(())
}
