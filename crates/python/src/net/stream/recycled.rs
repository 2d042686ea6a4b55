//! One received `bytes` object, used again.
//!
//! Most protocols look at received bytes and let them go, and then the next receive allocates the same memory anew: beyond
//! Python's own small-object allocator (512 bytes) that goes through the C library each time. The loop
//! therefore keeps one reference to the last object. When the next bytes come and that reference is the only one left,
//! nobody else can see the object, and it is filled again.
//!
//! # Invariants
//! 1. An object is written to only while its reference count is one and that reference is the loop's, which is how CPython's
//!    own `_PyBytes_Resize` decides. Views, slices, queued writes: whoever still looks at the bytes counts.
//! 2. Its memory holds `capacity` bytes and a final zero; at least half of it is used, so that a program which keeps what it
//!    receives keeps no more than twice that.
//!
//! Free-threaded builds count references by thread and always allocate.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::guarded::Guarded;
use crate::ffi::object::Object;

/// Smaller objects come from Python's own allocator, which is as fast; larger ones are worth their own memory.
const RECYCLED_BYTES: core::ops::RangeInclusive<usize> = 480..=4096;

/// The object of the last receive, and what its memory holds.
pub(crate) struct Recycled {
    object: Object,
    capacity: usize,
}

/// A `bytes` with a copy of `data`.
pub(crate) fn bytes(py: Python<'_>, place: &Guarded<Option<Recycled>>, data: &[u8]) -> Object {
    if cfg!(Py_GIL_DISABLED) || !RECYCLED_BYTES.contains(&data.len()) {
        return Object::new(PyBytes::new(py, data));
    }
    let last = place.with(py, Option::take);
    let recycled = match last {
        Some(last) if last.fits(data.len()) && last.is_alone() => {
            last.fill(data);
            last
        }
        other => {
            drop(other);
            Recycled { object: Object::new(PyBytes::new(py, data)), capacity: data.len() }
        }
    };
    let object = recycled.object.clone();
    let other = place.with(py, |place| place.replace(recycled));
    drop(other);
    object
}

/// `PyBytesObject`, whose hash field pyo3-ffi keeps to itself.
#[repr(C)]
struct Layout {
    head: ffi::PyVarObject,
    hash: ffi::Py_hash_t,
    first: u8,
}

impl Recycled {
    const fn fits(&self, length: usize) -> bool {
        length <= self.capacity && self.capacity <= 2 * length
    }

    fn is_alone(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::Py_REFCNT(self.object.as_ptr()) == 1 }
    }

    /// Makes the object hold `data`; invariant 1 has been checked.
    #[expect(clippy::cast_possible_wrap, reason = "at most the capacity")]
    fn fill(&self, data: &[u8]) {
        let object: *mut Layout = self.object.as_ptr().cast();
        // SAFETY: an exact `bytes` that this alone refers to.
        unsafe { (*object).head.ob_size = data.len() as ffi::Py_ssize_t };
        // SAFETY: as above; -1 stands for "not computed".
        unsafe { (*object).hash = -1 };
        // SAFETY: as above.
        let first = unsafe { &raw mut (*object).first };
        // SAFETY: the memory holds `capacity` bytes, `data` is no longer, and it is not part of this object.
        unsafe { first.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        // SAFETY: the memory holds one byte more for the final zero.
        let end = unsafe { first.add(data.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
    }
}
