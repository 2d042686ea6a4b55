//! Counts the children of one call that are done, some of them without running their callback.
//!
//! In asyncio a child's callback runs in the turn after the child is done, and most of these callbacks only count. A counter
//! counts such a child as soon as it is done ([`Counter::child_is_done`]), without a callback and without a turn of the loop.
//! A program can see two differences: the call graph forgets the finished child one turn earlier, and `loop._ready` does not
//! contain its callback. Whatever else a callback does is left to the callback.
//!
//! # Invariants
//! 1. `pending` counts the children that are not known to be done, `scheduled` those that are, and whose callback has yet to
//!    run. A callback that runs without having been counted as scheduled belongs to a task that asyncio's own code finished
//!    (`Future.set_exception(task, error)`).
//! 2. `finished` counts the children whose callback has run or was skipped. The last child's callback is never skipped.

use crate::ffi::cell::Plain;
use crate::ffi::fields::holds_no_object;

pub(super) struct Counter {
    total: usize,
    /// Whether callbacks may be skipped at all.
    may_skip: bool,
    finished: Plain<usize>,
    pending: Plain<usize>,
    scheduled: Plain<usize>,
}

holds_no_object!(Counter);

impl Counter {
    /// For `total` children.
    pub(super) fn new(total: usize, may_skip: bool) -> Self {
        Self { total, may_skip, finished: Plain::new(0), pending: Plain::new(total), scheduled: Plain::new(0) }
    }

    /// Called when a child is done, whose callback would do nothing more if `only_counts`: true if the callback is skipped.
    #[inline]
    pub(super) fn child_is_done(&self, only_counts: bool) -> bool {
        if !self.may_skip {
            return false;
        }
        let pending = self.pending.get().saturating_sub(1);
        self.pending.set(pending);
        if pending == 0 || !only_counts {
            self.scheduled.set(self.scheduled.get() + 1);
            return false;
        }
        self.finished.set(self.finished.get() + 1);
        true
    }

    /// Called when a child's callback runs: true if all children are finished.
    pub(super) fn callback_runs(&self) -> bool {
        self.finished.set(self.finished.get() + 1);
        match self.scheduled.get().checked_sub(1) {
            Some(scheduled) => self.scheduled.set(scheduled),
            None => self.pending.set(self.pending.get().saturating_sub(1)),
        }
        self.finished.get() == self.total
    }
}
