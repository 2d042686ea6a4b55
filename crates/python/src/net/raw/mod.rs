//! Raw sockets on the loop: `sock_recv`, `sock_sendall` and their relatives.
//!
//! | file | what |
//! | --- | --- |
//! | `methods.rs` | the loop's methods: an operation for a usual call, asyncio's own coroutine for any other |
//! | `operation.rs` | the awaitable: a native coroutine that tries, waits and tries again |
//! | `attempt.rs` | one attempt |
//! | `waiter.rs` | the future that a waiting operation yields |
//! | `registration.rs` | which sockets wait, by number; who a number belongs to |
//! | `class.rs` | the genuine class of sockets |
//!
//! What has to do with connections (`sock_accept`, `sock_connect`, `sock_sendfile`) is Python, in `ferrio._sockets`, and waits
//! by the same means.

#![forbid(unsafe_code)]

mod attempt;
mod class;
mod methods;
mod operation;
mod registration;
mod waiter;

pub(crate) use class::socket_class;
pub(crate) use methods::{FUNCTIONS, add_methods};
pub(crate) use registration::{RawSockets, behind_handle, confirm_waits, numbers, release, remove_waiter};

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::ffi::socket;

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    class::register(module)?;
    socket::check(module.py(), socket_class(module.py())?)?;
    operation::register(module)
}
