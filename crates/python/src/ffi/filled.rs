//! A `bytes` that is filled where it lies.

use core::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::object::Object;

unsafe extern "C" {
    // Public in `bytesobject.h`; pyo3-ffi keeps it to itself.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> core::ffi::c_int;
}

/// A `bytes` of what `fill` puts into a buffer of `capacity` bytes, at least one: it returns how many it has initialised.
/// `None` when that is none, or when there is no memory.
pub(crate) fn filled(
    py: Python<'_>,
    capacity: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
) -> Option<Object> {
    let size = ffi::Py_ssize_t::try_from(capacity).ok()?;
    // SAFETY: a positive size; null is looked at below.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(core::ptr::null(), size) };
    // SAFETY: a new reference, or null with an exception.
    let Some(object) = (unsafe { Object::from_owned(object) }) else {
        drop(PyErr::take(py));
        return None;
    };
    // SAFETY: a `bytes`.
    let data: *mut MaybeUninit<u8> = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast();
    // SAFETY: so many bytes, in an object that nobody else has seen.
    let count = fill(unsafe { core::slice::from_raw_parts_mut(data, capacity) });
    assert!(count <= capacity, "more than there was room for");
    if count == 0 || count == capacity {
        return (count != 0).then_some(object);
    }
    let mut object = object.into_ptr();
    #[expect(clippy::cast_possible_wrap, reason = "at most the capacity")]
    // SAFETY: the only reference to a `bytes` that nobody has hashed; on failure it is gone and null is left.
    if unsafe { _PyBytes_Resize(&raw mut object, count as ffi::Py_ssize_t) } != 0 {
        drop(PyErr::take(py));
    }
    // SAFETY: the resized object's reference, or null.
    unsafe { Object::from_owned(object) }
}
