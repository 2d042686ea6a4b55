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

use crate::core::LoopCore;
use crate::handle::RunningGate;
use crate::net::stream;

#[pymethods]
impl LoopCore {
    /// In the parent, before a fork: sends what the callback under way in this thread has written.
    fn _before_fork(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_in_entry() { Ok(self.run_after_entry(py)?) } else { Ok(()) }
    }

    /// In the child, after a fork: lets go of what the loop shares with the parent's.
    fn _after_fork(&self, py: Python<'_>) {
        if self.flags.closed.get() {
            return;
        }
        self.renew_descriptors(py);
        // Whoever was to be woken, or waits for a handle to end, is not in this process.
        self.inbox.awake();
        self.part::<RunningGate>().after_fork(py);
        if !self.is_own_thread() {
            self.flags.thread.store(0, Ordering::Relaxed);
            self.pulse.set_entry(0);
            self.flags.turning.set(false);
            self.note_stop(py);
            stream::forget_corked(py, self);
        }
    }
}
