//! Instances of a class that have ended and wait for their next use, as whole objects.
//!
//! Each holds the next one in its [`IdleLink`], and its one reference is the list's. None is tracked by the collector, which
//! would show it to programs (`gc.get_objects`). Attached threads alone use a list, with the GIL one at a time; the atomics
//! exist only to make the static `Sync`.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::ffi;

use super::cell::Plain;
use super::fields::holds_no_object;
use super::object::Object;

/// A field of each instance.
pub(crate) struct IdleLink {
    /// The next one in the list, while the instance is in it.
    next: Plain<*mut ffi::PyObject>,
    /// Its finalizer has run. The interpreter never runs it again, so the instance is not used again.
    is_finalized: Plain<bool>,
}

holds_no_object!(IdleLink);

impl Default for IdleLink {
    fn default() -> Self {
        Self { next: Plain::new(null_mut()), is_finalized: Plain::new(false) }
    }
}

impl IdleLink {
    #[inline]
    pub(in crate::ffi) fn next(&self) -> *mut ffi::PyObject {
        self.next.get()
    }

    pub(in crate::ffi) fn set_finalized(&self) {
        self.is_finalized.set(true);
    }
}

/// The idle instances of one class.
pub(in crate::ffi) struct IdleList {
    first: AtomicPtr<ffi::PyObject>,
    /// How many more it takes.
    room: AtomicUsize,
}

impl IdleList {
    /// One that keeps `most` instances.
    pub(in crate::ffi) const fn new(most: usize) -> Self {
        Self { first: AtomicPtr::new(null_mut()), room: AtomicUsize::new(most) }
    }

    /// The instance that was given last, tracked again; `next` finds what its link holds.
    #[inline]
    pub(in crate::ffi) fn take(&self, next: impl FnOnce(&Object) -> *mut ffi::PyObject) -> Option<Object> {
        let first = self.first.load(Ordering::Relaxed);
        // SAFETY: the list's own reference, or null.
        let object = unsafe { Object::from_owned(first) }?;
        self.first.store(next(&object), Ordering::Relaxed);
        self.room.store(self.room.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: a whole object of a collected class, untracked since it was given.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) };
        Some(object)
    }

    /// Takes an instance that nobody refers to any more, whose link is `link`, and untracks it; `false` leaves it to be freed.
    #[inline]
    pub(in crate::ffi) fn give(&self, object: &Object, link: &IdleLink) -> bool {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 || link.is_finalized.get() {
            return false;
        }
        self.room.store(room - 1, Ordering::Relaxed);
        link.next.set(self.first.load(Ordering::Relaxed));
        // SAFETY: a whole object of a collected class; what is not tracked stays so.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) };
        self.first.store(object.clone().into_ptr(), Ordering::Relaxed);
        true
    }
}
