//! The native half of `ferrio`'s socket transport: bytes in, bytes out, flow control.
//!
//! `StreamTransport` is a subclass of `asyncio.Transport`; `ferrio._transport.SocketTransport` completes it with what runs
//! once per connection (construction, `repr`, errors, the end). The native half calls the Python half for these by name.

mod begin;
mod close;
mod ctype;
mod descriptor;
mod details;
mod limits;
mod part;
mod read;
mod recycled;
mod server;
mod state;
mod write;

pub(crate) use begin::{IPPROTO_TCP, Opened, Parties, begin, report_failed_waiter};
pub(crate) use ctype::register;
pub(crate) use details::abandon;
pub(crate) use limits::Limits;
pub(crate) use part::{StreamPart, flush_corked, forget_corked};
pub(crate) use read::received_bytes;
pub(crate) use write::{chunk_of, is_exact_bytes};

use ferrio_engine::backend::{Interest, Key};
use pyo3::intern;
use pyo3::prelude::*;

use crate::core::{Entry, Exit, LoopCore, settle};
use crate::ffi::object::Object;
use crate::handle::context;
use state::State;

/// Runs a transport whose descriptor can make progress, in the connection's context. In asyncio's order: read, write, each
/// as a callback of its own, whose exception is reported and ends nothing.
///
/// # Errors
/// What leaves the loop.
fn on_ready(py: Python<'_>, core: &LoopCore, transport: Option<Object>, key: Key, ready: Interest) -> Result<(), Exit> {
    let Some(transport) = &transport else { return Ok(()) };
    // SAFETY: sources of this kind hold transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    // It lets go of the loop when it ends.
    let (ctx, event_loop) = state.with(py, |inner| (inner.io_context.clone(), inner.event_loop.clone()));
    let (Some(ctx), Some(event_loop)) = (ctx, event_loop) else { return Ok(()) };
    let is_reading = || state.with(py, |inner| inner.key == Some(key) && inner.reading.is_wanted());
    let is_sending = || state.with(py, |inner| inner.key == Some(key) && inner.stream.is_sending());
    let failed_in = |method: Callback, exception: &Bound<'_, PyAny>| {
        let is_over = !if method == Callback::Read { is_reading() } else { is_sending() };
        report_failed_callback(py, &event_loop, transport, method, is_over, exception)
    };
    let started = core.is_debug().then(ferrio_engine::sys::clock::now);
    let outcome = context::run_in(py, &ctx, || {
        if ready.reads() && is_reading() {
            let read = read::ready(py, core, transport, state, key);
            let read = settle(py, read, |exception| failed_in(Callback::Read, exception));
            if read.is_err() && ready.writes() {
                // asyncio's handle of this direction would be left over in the queue.
                core.push_ready(py, Entry::ready(key, Interest::WRITE));
            }
            read?;
        }
        if ready.writes() && is_sending() {
            let written = write::ready(py, core, transport, state, key);
            settle(py, written, |exception| failed_in(Callback::Write, exception))?;
        }
        Ok(())
    });
    let slow = started.map_or(Ok(()), |started| {
        let took = ferrio_engine::sys::clock::now().saturating_sub(started).as_secs_f64();
        transport.bind(py).call_method1(intern!(py, "_report_if_slow"), (took,)).map(drop)
    });
    settle(py, outcome.and(slow), |exception| failed_in(Callback::Read, exception))
}

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
    py.import("ferrio._event_loop")?.call_method1("report_failed_transport", arguments).map(drop)
}
