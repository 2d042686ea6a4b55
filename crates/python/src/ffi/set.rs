//! Sets that native code keeps for Python code to see.

use pyo3::ffi;

use super::cell::Slot;

/// How many items the set in `slot` has; `None` if it holds no set, or one of a derived class.
#[inline]
pub(crate) fn length(slot: &Slot) -> Option<usize> {
    // SAFETY: nothing below runs Python, so nobody comes to the slot in between.
    let set = unsafe { slot.peek() }.filter(|object| object.has_class(&raw const ffi::PySet_Type))?;
    // SAFETY: a live set.
    Some(unsafe { ffi::PySet_GET_SIZE(set.as_ptr()) }.unsigned_abs())
}
