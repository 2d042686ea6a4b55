//! Coroutines that have ended and wait for their next use, as whole objects.
//!
//! Each shows the next one, and its one reference is the list's. None is tracked by the collector, which would show it to
//! programs (`gc.get_objects`). Attached threads alone use the list, with the GIL one at a time; atomics make that a matter
//! of types and cost nothing.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::ffi;

use crate::ffi::cell::Plain;
use crate::ffi::object::Object;

/// In each object: the next in the list, while this one is in it.
pub(crate) type Link = Plain<*mut ffi::PyObject>;

pub(crate) struct IdleList {
    first: AtomicPtr<ffi::PyObject>,
    /// How many more it takes.
    room: AtomicUsize,
}

impl IdleList {
    /// One that keeps `most` objects.
    pub(crate) const fn new(most: usize) -> Self {
        Self { first: AtomicPtr::new(null_mut()), room: AtomicUsize::new(most) }
    }

    /// The object that was given last, with the list's reference to it, not tracked; `link` finds an object's link.
    #[inline]
    pub(crate) fn take(&self, link: impl FnOnce(*mut ffi::PyObject) -> *const Link) -> Option<Object> {
        let object = self.first.load(Ordering::Relaxed);
        if object.is_null() {
            return None;
        }
        // SAFETY: what is in the list is whole, and the list keeps it alive.
        let link = unsafe { &*link(object) };
        self.first.store(link.get(), Ordering::Relaxed);
        self.room.store(self.room.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: the list's reference.
        unsafe { Object::from_owned(object) }
    }

    /// Takes an object that nobody refers to any more, `link` being its own, and untracks it; whether there was room.
    #[inline]
    pub(crate) fn give(&self, object: *mut ffi::PyObject, link: &Link) -> bool {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            return false;
        }
        self.room.store(room - 1, Ordering::Relaxed);
        link.set(self.first.load(Ordering::Relaxed));
        self.first.store(object, Ordering::Relaxed);
        // SAFETY: a whole object of a collected type; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
        // SAFETY: a whole object; this is the list's reference to it.
        unsafe { ffi::Py_INCREF(object) };
        true
    }
}
