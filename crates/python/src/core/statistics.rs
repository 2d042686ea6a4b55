//! What a loop has done so far, in plain counters.
//!
//! A counter is one word that attached threads add to: an addition in memory for each turn, receive or send, nothing for
//! each callback, and nothing that has to be switched on. They start over after 2^64.

use core::sync::atomic::{AtomicU64, Ordering};

use ferrio_engine::backend::Backend;
use ferrio_engine::time::Nanos;
use pyo3::prelude::*;

use super::histogram::Histogram;
use super::loop_core::LoopCore;

/// A number that grows. Only attached threads touch it, so reading and writing need not be one step.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, amount: usize) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount as u64), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn add_u64(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    #[inline]
    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of a loop.
#[derive(Default)]
pub(crate) struct Counters {
    /// Questions to the kernel, with and without waiting.
    pub(crate) polls: Counter,
    /// Those of them that could wait.
    pub(crate) sleeps: Counter,
    /// Entries that were run.
    pub(crate) callbacks: Counter,
    /// Timers that became due.
    pub(crate) timers: Counter,
    /// Bytes that transports have received.
    pub(crate) received: Counter,
    /// Bytes of transports that the kernel has taken.
    pub(crate) sent: Counter,
    /// How late the last timer was found to be due, and the latest one, in nanoseconds.
    lag: Counter,
    largest_lag: Counter,
    /// Each `lag` so far.
    pub(super) lags: Histogram,
}

impl Counters {
    /// Timers became due, the first of them `lag` ago.
    pub(crate) fn note_due(&self, count: usize, lag: Nanos) {
        self.timers.add(count);
        self.lags.note(lag);
        self.lag.set(lag.as_nanos());
        if lag.as_nanos() > self.largest_lag.get() {
            self.largest_lag.set(lag.as_nanos());
        }
    }
}

impl LoopCore {
    /// Every figure of `ferrio.Statistics`, in its order; lags in nanoseconds.
    pub(crate) fn figures(&self, py: Python<'_>) -> [u64; 12] {
        self.take_inbox(py);
        let (ready, timers, watched) = self.with_reactor(py, |reactor| {
            let timers = reactor.timers.len() - reactor.timers.cancelled_len();
            (reactor.ready.len(), timers, reactor.backend.registrations())
        });
        // The loop's own are among those that it watches, until it is closed.
        let watched = watched.saturating_sub(1 + usize::from(self.flags.has_signal_pair.get()));
        let counters = &self.counters;
        [
            self.pulse.turns.get(),
            counters.polls.get(),
            counters.sleeps.get(),
            counters.callbacks.get(),
            counters.timers.get(),
            ready as u64,
            timers as u64,
            watched as u64,
            counters.received.get(),
            counters.sent.get(),
            counters.lag.get(),
            counters.largest_lag.get(),
        ]
    }
}
