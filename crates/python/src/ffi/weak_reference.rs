//! What weak references lead to.

use pyo3::ffi;

use super::object::Object;

/// The object that an exact `weakref.ref` leads to; `None` if it has died, or `reference` is anything else.
#[inline]
pub(crate) fn referent(reference: &Object) -> Option<Object> {
    // SAFETY: a live object.
    if unsafe { ffi::PyWeakref_CheckRefExact(reference.as_ptr()) } == 0 {
        return None;
    }
    let mut object = core::ptr::null_mut();
    // SAFETY: a weak reference, and a place for the result.
    unsafe { ffi::compat::PyWeakref_GetRef(reference.as_ptr(), &raw mut object) };
    // SAFETY: a new reference, or null.
    unsafe { Object::from_owned(object) }
}
