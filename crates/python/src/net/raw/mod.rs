//! Raw sockets on the loop: `sock_recv`, `sock_sendall` and their relatives.
//!
//! | file | what |
//! | --- | --- |
//! | `methods.rs` | the loop's methods: an operation for a usual call, asyncio's own coroutine for any other |
//! | `operation.rs` | the awaitable: a coroutine that tries, waits and tries again |
//! | `attempt.rs`, `buffer.rs` | one attempt, and the buffers of others that it works on |
//! | `waiter.rs` | the future that a waiting operation yields |
//! | `registration.rs` | which sockets wait, by number; who a number belongs to |
//! | `native.rs` | types with Rust state |
//! | `class.rs` | the genuine class of sockets |
//! | `layout.rs` | a socket's number and timeout |
//!
//! What has to do with connections (`sock_accept`, `sock_connect`, `sock_sendfile`) is Python, in `ferrio._sockets`, and waits
//! by the same means.

mod attempt;
mod buffer;
mod class;
mod layout;
mod methods;
mod native;
mod operation;
mod registration;
mod waiter;

pub(crate) use class::socket_class;
pub(crate) use registration::{RawSockets, behind_handle, confirm_waits, numbers, orphan, release};

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::core::LoopCore;

/// Adds the types to the module, and the methods to the loop's core.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    class::register(module)?;
    layout::check(module.py())?;
    operation::register(module)?;
    methods::add(&module.py().get_type::<LoopCore>())
}
