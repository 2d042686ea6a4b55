//! How far other threads may run ahead of the loop.
//!
//! `call_soon_threadsafe` costs less than running what it schedules, and a thread keeps the interpreter for a whole switch
//! interval: with threads that schedule without pause each turn would be longer than the last one, and timers and the kernel
//! would wait for its end. asyncio lets go of the interpreter in every such call, when it writes to its wake-up socket. Here
//! a thread lets go of it, for a moment, where much is waiting to run.
//!
//! A loop that does not get on, within a long callback say, needs no pauses: after a few, threads make none until it has run
//! something.
//!
//! # Cost
//! Two loads for a call from another thread.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use pyo3::prelude::*;

use super::loop_core::LoopCore;

/// What may wait to run before a thread pauses.
const AHEAD: usize = 1024;

/// Long enough for another thread to get the interpreter.
const PAUSE: Duration = Duration::from_micros(50);

/// Pauses while the loop does not get on: another thread than the loop's may get the interpreter first.
const PAUSES: usize = 64;

/// Touched by attached threads only.
#[derive(Default)]
pub(super) struct Pace {
    /// Handles in the inbox: with the GIL threads need none.
    arrived: AtomicUsize,
    /// How far the loop had come at the last pause.
    seen: AtomicUsize,
    /// Pauses since it came there.
    pauses: AtomicUsize,
}

impl Pace {
    /// The inbox has been emptied.
    #[inline]
    pub(super) fn taken(&self) {
        self.arrived.store(0, Ordering::Relaxed);
    }
}

impl LoopCore {
    /// Another thread has scheduled a handle.
    #[inline]
    pub(super) fn pace_producer(&self, py: Python<'_>) {
        let arrived = if cfg!(Py_GIL_DISABLED) { self.pace.arrived.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        let ready = self.with_reactor(py, |reactor| reactor.ready.len());
        if arrived + ready > AHEAD {
            self.pause_producer(py, ready);
        }
    }

    #[cold]
    #[inline(never)]
    fn pause_producer(&self, py: Python<'_>, ready: usize) {
        // Differs as soon as the loop has run an entry or begun a turn.
        let come_to = usize::try_from(self.turn()).unwrap_or_default().rotate_right(usize::BITS / 2) ^ ready;
        let has_got_on = self.pace.seen.swap(come_to, Ordering::Relaxed) != come_to;
        let pauses = if has_got_on { 0 } else { self.pace.pauses.load(Ordering::Relaxed) };
        if pauses < PAUSES {
            self.pace.pauses.store(pauses + 1, Ordering::Relaxed);
            py.detach(|| std::thread::sleep(PAUSE));
        }
    }
}
