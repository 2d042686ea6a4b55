//! Delays GC tracking while a handle waits in a loop that runs.
//!
//! Such a handle is no garbage: the loop holds it, and whoever runs the loop holds the loop. Objects made in a burst start
//! collections, which would traverse all the waiting handles again and again. So a handle is tracked when the loop stops, and
//! when the loop lets go of it while somebody else has it.
//!
//! # Invariant
//! A handle that is not tracked stands in the ready queue, the inbox or the timers of a loop that is being run, or is being
//! run with no reference but the loop's.

#![forbid(unsafe_code)]

use crate::ffi::class::Instance;
use crate::ffi::handle::AnyHandle;
use crate::ffi::object::Object;

/// Tracks a handle: its loop stops, or it is to be seen by a program.
#[inline]
pub(super) fn track(handle: &Object) {
    if let Some(handle) = Instance::<AnyHandle>::of(handle) {
        handle.track();
    }
}

/// Tracks a handle that the loop lets go of, with the last of its references; one that nobody else has ends untracked.
#[inline]
pub(super) fn released(handle: &Object) {
    if handle.reference_count() > 1 {
        track(handle);
    }
}
