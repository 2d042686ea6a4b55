//! What a loop is at, for a thread that looks on: the number of the turn, and of the entry that is being run in it.
//!
//! Both are words that the loop has to write anyhow, so they cost nothing whether somebody looks or not. The loop's thread
//! writes them; any thread reads them, attached or not.
//!
//! # Invariants
//! 1. While an entry runs, the pair of numbers stays the same, and no other entry of the loop has had it: entries of one
//!    turn count down to 1, and a turn within an entry has a number of its own. When it ends, the outer entry's comes back.
//! 2. While [`Pulse::moment`] is in an entry, [`Pulse::thread_state`] is the state of the thread that runs it.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::statistics::Counter;

/// See the module.
#[derive(Default)]
pub(crate) struct Pulse {
    /// Turns that were begun.
    pub(super) turns: Counter,
    /// Entries of the turn that are left, with the one that is being run; 0 between entries.
    entry: AtomicUsize,
    /// The address of the `PyThreadState` in which the loop last began to run.
    thread_state: AtomicUsize,
    /// The loop is closed or collected.
    has_ended: AtomicBool,
}

/// What a loop is at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    turn: u64,
    entry: usize,
}

impl Moment {
    pub(crate) const fn is_in_entry(self) -> bool {
        self.entry != 0
    }
}

impl Pulse {
    /// The number of the entry that is being run; 0 for none.
    #[inline]
    pub(crate) fn entry(&self) -> usize {
        self.entry.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set_entry(&self, entry: usize) {
        self.entry.store(entry, Ordering::Relaxed);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { turn: self.turns.get(), entry: self.entry() }
    }

    pub(crate) fn thread_state(&self) -> usize {
        self.thread_state.load(Ordering::Relaxed)
    }

    pub(crate) fn set_thread_state(&self, address: usize) {
        self.thread_state.store(address, Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}
