//! The native half of `ferrio`'s socket transport: bytes in, bytes out, flow control.
//!
//! `StreamTransport` is a subclass of `asyncio.Transport`; `ferrio._transport.SocketTransport` completes it with what runs
//! once per connection (construction, `repr`, errors). The native half calls the Python half for these by name.
//!
//! The loop calls [`start_reading`] behind `connection_made`, [`on_ready`] for each report of the kernel, and
//! [`flush_corked`] for a transport that has been written to, when the callback under way has returned.

#![forbid(unsafe_code)]

mod begin;
mod class;
mod close;
mod descriptor;
mod details;
mod read;
mod server;
mod state;
mod write;

pub(crate) use begin::{IPPROTO_TCP, Opened, Parties, begin, report_failed_waiter, start_reading, tell_connected};
pub(crate) use class::{StreamTransport, register};
pub(crate) use descriptor::TransportsByNumber;
pub(crate) use details::abandon;
pub(crate) use read::on_ready;
pub(crate) use write::{flush_corked, forget_queued};
