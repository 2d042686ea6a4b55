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
mod read;
mod recycled;
mod server;
mod state;
mod write;

pub(crate) use begin::{IPPROTO_TCP, Opened, Parties, begin, start_reading, tell_connected};
pub(crate) use ctype::register;
pub(crate) use descriptor::Holders;
pub(crate) use details::abandon;
pub(crate) use limits::Limits;
pub(crate) use read::received_bytes;
pub(crate) use recycled::{Recycled, bytes as recycled_bytes};
pub(crate) use write::{chunk_of, flush_corked, forget_queued, is_exact_bytes};

use ferrio_engine::backend::{Interest, Key};
use pyo3::prelude::*;

use crate::event_loop::LoopCore;
use crate::handle::context;
use crate::object::Object;
use state::State;

/// Runs a transport whose descriptor can make progress, in the connection's context. In asyncio's order: read, write.
///
/// # Errors
/// What must leave the loop: `SystemExit`, `KeyboardInterrupt`, or an exception of the loop's own handlers.
pub(crate) fn on_ready(py: Python<'_>, core: &LoopCore, transport: &Object, key: Key, ready: Interest) -> PyResult<()> {
    // SAFETY: sources of this kind hold transports only.
    let state = unsafe { State::of(transport.as_ptr()) };
    let Some(ctx) = state.with(py, |inner| inner.io_context.clone()) else { return Ok(()) };
    let started = core.is_debug().then(ferrio_engine::sys::clock::now);
    let outcome = context::run_in(py, &ctx, || {
        if ready.reads() && state.with(py, |inner| inner.key == Some(key) && inner.reading.is_wanted()) {
            read::ready(py, core, transport, state, key)?;
        }
        if ready.writes() && state.with(py, |inner| inner.key == Some(key) && inner.stream.is_sending()) {
            write::ready(py, core, transport, state, key)?;
        }
        Ok(())
    });
    if let Some(started) = started {
        let took = ferrio_engine::sys::clock::now().saturating_sub(started).as_secs_f64();
        transport.bind(py).call_method1("_report_if_slow", (took,))?;
    }
    outcome
}
