//! Running a coroutine up to its next `yield`.

use pyo3::ffi;
use pyo3::prelude::*;

use super::object::Object;

/// What a coroutine did.
pub(crate) enum Sent {
    Yielded(Object),
    Returned(Object),
}

/// `coroutine.send(None)`.
///
/// # Errors
/// What the coroutine raises; `AttributeError` or `TypeError` when it is no iterator.
#[inline]
pub(crate) fn send_none(py: Python<'_>, coroutine: &Object) -> PyResult<Sent> {
    let mut result = core::ptr::null_mut();
    // SAFETY: a singleton of the interpreter.
    let none = unsafe { ffi::Py_None() };
    // SAFETY: live objects, and a place for the result.
    let status = unsafe { ffi::PyIter_Send(coroutine.as_ptr(), none, &raw mut result) };
    // SAFETY: a new reference, or null with an exception.
    let result = unsafe { Object::from_result(py, result) }?;
    Ok(if status == ffi::PySendResult::PYGEN_NEXT { Sent::Yielded(result) } else { Sent::Returned(result) })
}
