//! When the collector looks at a task: not while it stands in the queue of a loop that runs.
//!
//! Such a task is no garbage: the queue holds it, and whoever runs the loop holds the queue. A burst of new tasks would be
//! looked at again and again all the same, since each makes objects, and these make the collector begin. So a new task is
//! shown to the collector when it waits for something, when it has ended, and when the loop stops.
//!
//! # Invariant
//! A task that is not tracked stands in the ready queue of a loop that is being run, or is being stepped by it.

use pyo3::ffi;
use pyo3::prelude::*;

use super::layout::{Fields, Slot};
use super::scheduling;
use crate::event_loop::LoopCore;
use crate::object::Object;

/// A new task has been put into its loop's queue: leaves it to [`from_now_on`] if the loop runs.
#[inline]
pub(super) fn when_it_waits(py: Python<'_>, task: &Object, fields: Fields<'_>) {
    let Some(event_loop) = fields.get(Slot::Loop) else { return };
    if scheduling::direct(py, &event_loop).is_some_and(LoopCore::is_turning) {
        // SAFETY: a live object of a collected type; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(task.as_ptr().cast()) };
    }
}

/// The collector sees the task from now on.
#[inline]
pub(crate) fn from_now_on(task: &Object) {
    // SAFETY: a live object of a collected type.
    if unsafe { ffi::PyObject_GC_IsTracked(task.as_ptr()) } == 0 {
        // SAFETY: a live object that is not tracked; its fields are whole.
        unsafe { ffi::PyObject_GC_Track(task.as_ptr().cast()) };
    }
}
