//! Delays GC tracking while a new task is queued on a running loop.
//!
//! Such a task is no garbage: the queue holds it, and whoever runs the loop holds the queue. A burst of new tasks would be
//! looked at again and again all the same, since each makes objects, and these make the collector begin. So a new task is
//! shown to the collector when its first step begins, before anything in that can fail, and when the loop stops.
//!
//! # Invariant
//! A task that is not tracked stands in the ready queue of a loop that is being run, as the
//! entry of its first step.

use pyo3::ffi;

use crate::core::LoopCore;
use crate::ffi::object::Object;

/// A new task has been put into the queue of its loop, as an entry: leaves it to [`track`] if the loop turns.
#[inline]
pub(super) fn when_it_runs(core: &LoopCore, task: &Object) {
    if core.is_turning() {
        // SAFETY: a live object of a collected type; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(task.as_ptr().cast()) };
    }
}

/// Shows the task to the collector.
#[inline]
pub(crate) fn track(task: &Object) {
    // SAFETY: a live object of a collected type.
    if unsafe { ffi::PyObject_GC_IsTracked(task.as_ptr()) } == 0 {
        // SAFETY: a live object that is not tracked; its fields are whole.
        unsafe { ffi::PyObject_GC_Track(task.as_ptr().cast()) };
    }
}
