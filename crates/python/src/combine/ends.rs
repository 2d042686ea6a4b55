//! Counting the children of one call that have ended, some of them before their callback would have run.
//!
//! In asyncio the callback of a child runs in the turn after its end, and most of these callbacks do no more than
//! count. That is done when the child ends ([`Ends::sees`]), without a callback and without a turn of the loop. No
//! program's code runs in such a callback; what shows is that the call graph forgets about a child that is done a
//! turn earlier, and that `loop._ready` has no callback for it. Whatever more there is to do is left to the callback,
//! in its own turn.
//!
//! # Invariants
//! 1. `left` counts the children whose end is not known yet, `due` those whose end has been seen and whose callback has
//!    still to run. A callback that is not due is news of an end: asyncio's own code can end a task as well
//!    (`Future.set_exception(task, error)`).
//! 2. `ended` counts the children whose callback has run, or was spared. The last child to end is never spared.

use crate::ffi::cell::Plain;

pub(super) struct Ends {
    total: usize,
    /// Whether callbacks may be spared at all.
    spares: bool,
    ended: Plain<usize>,
    left: Plain<usize>,
    due: Plain<usize>,
}

impl Ends {
    /// Of `total` children.
    pub(super) fn new(total: usize, spares: bool) -> Self {
        Self { total, spares, ended: Plain::new(0), left: Plain::new(total), due: Plain::new(0) }
    }

    /// A child has ended, and `only_counts` says whether its callback would do no more than count: whether it is
    /// spared.
    #[inline]
    pub(super) fn sees(&self, only_counts: bool) -> bool {
        if !self.spares {
            return false;
        }
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 || !only_counts {
            self.due.set(self.due.get() + 1);
            return false;
        }
        self.ended.set(self.ended.get() + 1);
        true
    }

    /// The callback of a child runs: whether all have ended.
    pub(super) fn hears(&self) -> bool {
        self.ended.set(self.ended.get() + 1);
        match self.due.get().checked_sub(1) {
            Some(due) => self.due.set(due),
            None => self.left.set(self.left.get().saturating_sub(1)),
        }
        self.ended.get() == self.total
    }
}
