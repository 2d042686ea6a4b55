//! The native half of `ferrio`'s socket transport: bytes in, bytes out, flow control.
//!
//! `StreamTransport` is a subclass of `asyncio.Transport`; `ferrio._transport.SocketTransport` completes it with what runs
//! once per connection (construction, `repr`, errors). The native half calls the Python half for these by name.
//!
//! The loop runs [`begin`]'s entry behind `connection_made`, [`read::on_ready`] for each report of the kernel, and
//! [`flush_corked`] when a callback has returned that has written something.

#![forbid(unsafe_code)]

mod begin;
mod class;
mod close;
mod descriptor;
mod details;
mod part;
mod read;
mod server;
mod state;
mod stock_reader;
mod tls;
mod write;

use pyo3::prelude::*;

use class::StreamTransport;

pub(crate) use begin::{IPPROTO_TCP, Opened, Parties, begin, report_failed_waiter};
pub(crate) use details::abandon;
pub(crate) use part::{StreamPart, flush_corked, forget_corked, open_connections};

/// Adds the classes and the functions to the module.
///
/// # Errors
/// asyncio lacks a base or a slot.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    class::register(module)?;
    tls::register(module)
}
