//! What a function may be shown as an object while some of its callers hold addresses.

use pyo3::ffi;

use super::object::Object;

/// A borrowed object: `&Object`, or, in rooms that do not have that yet, the address of a live object.
pub(crate) trait Shown: Copy {
    fn shown(&self) -> &Object;
}

impl Shown for &Object {
    #[inline]
    fn shown(&self) -> &Object {
        self
    }
}

impl Shown for *mut ffi::PyObject {
    #[inline]
    fn shown(&self) -> &Object {
        // SAFETY: callers pass live objects, which they keep for the call.
        unsafe { Object::view(self) }
    }
}
