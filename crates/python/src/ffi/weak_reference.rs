//! What weak references lead to, and whether there are any.

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

/// Whether there are weak references to an object. `false` where its class has no place for them.
#[inline]
pub(in crate::ffi) fn are_any_to(object: &Object) -> bool {
    // SAFETY: a live class.
    let offset = unsafe { (*object.class()).tp_weaklistoffset };
    if offset == 0 {
        return false;
    }
    // SAFETY: the place of the list within the memory of an object, before the object in newer versions, as its class says.
    let list = unsafe { object.as_ptr().wrapping_byte_offset(offset).cast::<*mut ffi::PyObject>().read() };
    !list.is_null()
}
