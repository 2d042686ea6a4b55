//! What waits in a loop's timers: an object with static operations.

use core::cell::OnceCell;

use ferrio_engine::time::Expirable;

use super::entry::Entry;
use crate::ffi::fields::{Collector, Visited};
use crate::ffi::object::Object;

/// How timers of one kind behave.
pub(crate) struct TimerOperations {
    /// Whether the timer need not become due any more.
    pub(crate) is_cancelled: fn(&Timer) -> bool,
    /// The entry to run, now that the timer is due. What has to be dropped outside of the loop's sections goes to the list.
    pub(crate) due: fn(Timer, &mut Vec<Object>) -> Entry,
    /// The handle that stands for the timer where a program looks at the loop's timers, if there is one yet.
    pub(crate) handle: fn(&Timer) -> Option<&Object>,
    /// The loop lets go of a timer that was cancelled, or stops turning, and may become garbage with the timer.
    pub(crate) on_release: Option<fn(&Object)>,
}

/// A timer.
pub(crate) struct Timer {
    pub(crate) operations: &'static TimerOperations,
    pub(crate) object: Object,
    /// A handle that was made for a program to look at.
    pub(crate) shown: OnceCell<Object>,
}

impl Timer {
    #[inline]
    pub(crate) const fn new(operations: &'static TimerOperations, object: Object) -> Self {
        Self { operations, object, shown: OnceCell::new() }
    }

    /// The handle that stands for the timer, if there is one.
    pub(crate) fn handle(&self) -> Option<&Object> {
        (self.operations.handle)(self)
    }

    /// See [`TimerOperations::on_release`].
    pub(super) fn released(&self) {
        if let Some(on_release) = self.operations.on_release {
            on_release(&self.object);
        }
    }

    /// Gives up timers that were cancelled.
    #[inline]
    pub(crate) fn discard(timers: &mut Vec<Self>) {
        timers.iter().for_each(Self::released);
        timers.clear();
    }

    /// Shows what the timer holds to the collector.
    pub(super) fn visit(&self, collector: &Collector) -> Visited {
        self.object.visit(collector)?;
        self.shown.get().map_or(Ok(()), |handle| handle.visit(collector))
    }
}

impl Expirable for Timer {
    #[inline]
    fn is_cancelled(&self) -> bool {
        (self.operations.is_cancelled)(self)
    }
}
