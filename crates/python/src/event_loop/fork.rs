//! Forking while loops exist: what a loop does before, in the parent, and after, in the child.
//!
//! A fork copies the loop's tables and shares what its descriptors lead to. The child's copy therefore gets an epoll instance
//! and a wake-up descriptor of its own, under the old numbers, with everything watched that was watched: nothing that the
//! child does to its copy reaches the parent. `python/ferrio/_fork.py` calls both halves for every live loop.
//!
//! # Bytes
//! What a callback has written by the time it forks leaves before the fork, as in asyncio, where it leaves at once; the
//! child does not send it again. What the kernel had no room for is in both copies, as in asyncio: whoever lets the child
//! run the loop on has to make sure that the parent does not.
//!
//! # Threads
//! Of all threads the child has the one that forked. A loop that another one ran is stopped in the middle of its turn for
//! ever: it is shown as not running, so that it can be closed.

#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use pyo3::prelude::*;

use crate::core::{LoopBuilder, LoopCore};
use crate::ffi::class::Instance;
use crate::ffi::method::Method;
use crate::handle::RunningGate;
use crate::net::stream;

/// `_before_fork()`.
fn before_fork(py: Python<'_>, core: &Instance<LoopCore>) -> PyResult<()> {
    if core.is_in_entry() { Ok(core.run_after_entry(py)?) } else { Ok(()) }
}

/// `_after_fork()`.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a method")]
fn after_fork(py: Python<'_>, core: &Instance<LoopCore>) -> PyResult<()> {
    if core.flags.closed.get() {
        return Ok(());
    }
    core.renew_descriptors(py);
    // Whoever was to be woken, or waits for a handle to end, is not in this process.
    core.inbox.awake();
    core.part::<RunningGate>().after_fork(py);
    if !core.is_own_thread() {
        core.flags.thread.store(0, Ordering::Relaxed);
        core.pulse.set_entry(0);
        core.flags.turning.set(false);
        core.note_stop(py);
        stream::forget_corked(py, core);
    }
    Ok(())
}

/// Adds the methods to the core's class.
pub(super) fn add_methods(builder: LoopBuilder) -> LoopBuilder {
    builder
        .method(Method::no_arguments(
            c"_before_fork",
            before_fork,
            c"In the parent, before a fork: send what the callback under way in this thread has written.",
        ))
        .method(Method::no_arguments(
            c"_after_fork",
            after_fork,
            c"In the child, after a fork: let go of what the loop shares with the parent's.",
        ))
}
