//! Delays GC tracking while a task is queued on a running loop.
//!
//! Such a task is no garbage: the queue holds it, and whoever runs the loop holds the queue. In a burst of new tasks each
//! makes objects, and these start collections that would traverse all the tasks again and again. So a new task is tracked when
//! its first step begins, before anything in that can fail, and when the loop stops.
//!
//! # Invariant
//! A task that is not tracked stands in the ready queue of a loop that is being run, as the entry of its first step.
#![forbid(unsafe_code)]

use crate::ffi::future::Task;
use crate::ffi::object::Object;

/// Tracks a task whose first step begins, or whose loop stops.
#[inline]
pub(super) fn track(task: &Object) {
    if let Some(task) = Task::of(task) {
        task.track();
    }
}
