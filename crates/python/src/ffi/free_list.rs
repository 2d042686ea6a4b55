//! Memory of freed instances, kept for the next of their type.
//!
//! What is on a list has no references, given or taken, is not tracked by the collector, and was an instance of exactly the
//! type that the list is for. One whose finalizer the collector has run does not belong there: the mark that it never runs
//! again stays on the memory.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::guarded::Guarded;

struct Freed(*mut ffi::PyObject);

// SAFETY: memory that nobody refers to; attached threads alone take it (the list is guarded).
unsafe impl Send for Freed {}

/// The list of one type.
pub(crate) struct FreeList {
    freed: Guarded<Vec<Freed>>,
    most: usize,
}

impl FreeList {
    /// One that keeps `most` instances.
    pub(crate) const fn new(most: usize) -> Self {
        Self { freed: Guarded::new(Vec::new()), most }
    }

    /// The memory of a freed instance as a new one: with one reference, the caller's, not yet tracked, its fields as they
    /// were when it was given; `None` when there is none.
    ///
    /// # Safety
    /// `class` is the type whose instances the list is given.
    #[inline]
    pub(crate) unsafe fn take(&self, py: Python<'_>, class: *mut ffi::PyTypeObject) -> Option<*mut ffi::PyObject> {
        let Freed(memory) = self.freed.with(py, Vec::pop)?;
        // SAFETY: memory of an instance of this very type, which nobody refers to.
        Some(unsafe { ffi::PyObject_Init(memory, class) })
    }

    /// Keeps the memory of an instance that has ended; `false`: there is no room, it is the caller's to free.
    ///
    /// # Safety
    /// `object` is as the module says, and nobody uses it any more.
    #[inline]
    pub(crate) unsafe fn give(&self, py: Python<'_>, object: *mut ffi::PyObject) -> bool {
        self.freed.with(py, |freed| {
            let room = freed.len() < self.most;
            if room {
                freed.push(Freed(object));
            }
            room
        })
    }
}
