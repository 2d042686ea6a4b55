//! Memory of freed instances, kept for the next of their type.
//!
//! What is on a list has no references, given or taken, is not tracked by the collector, and was an instance of exactly the
//! type that the list is for. One whose finalizer the collector has run does not belong there: the mark that it never runs
//! again stays on the memory.

use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{Borrowed, ffi};

use super::c_api;
use super::guarded::Guarded;
use super::object::Object;

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
    pub(crate) unsafe fn take(&self, py: Python<'_>, class: Borrowed<'_, '_, PyType>) -> Option<Object> {
        let Freed(memory) = self.freed.with(py, Vec::pop)?;
        // SAFETY: memory of an instance of this very type, which nobody refers to.
        unsafe { c_api::PyObject_Init(memory, class) }
    }

    /// Frees an instance that has ended, or keeps its memory, if `may_keep` says so and there is room.
    ///
    /// # Safety
    /// `object` is not tracked, holds nothing, and nobody uses it any more; if `may_keep`, it is as the module says.
    #[inline]
    pub(crate) unsafe fn give_or_free(&self, object: &Object, may_keep: bool) {
        let (py, address) = (object.py(), object.as_ptr());
        let class: *mut ffi::PyObject = object.class().cast();
        let is_kept = may_keep
            && self.freed.with(py, |freed| {
                let room = freed.len() < self.most;
                if room {
                    freed.push(Freed(address));
                }
                room
            });
        if !is_kept {
            // SAFETY: memory from the type's allocator, untracked.
            unsafe { ffi::PyObject_GC_Del(address.cast()) };
        }
        // SAFETY: an instance of a heap type owned a reference to it.
        unsafe { ffi::Py_DECREF(class) };
    }
}
