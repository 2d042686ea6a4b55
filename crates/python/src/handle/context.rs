//! Contexts: copying the current one, running in one.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::object::Object;

/// A copy of the current context, O(1).
pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Object> {
    // SAFETY: the thread is attached.
    let copy = unsafe { ffi::PyContext_CopyCurrent() };
    // SAFETY: a new reference, or null with an exception.
    unsafe { Object::from_owned(copy) }.ok_or_else(|| PyErr::fetch(py))
}

/// Whether the object is a context and nothing derived.
pub(crate) fn is_context(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller shows a live object.
    unsafe { ffi::PyContext_CheckExact(object) != 0 }
}

/// Runs `body` in `context`.
///
/// # Errors
/// The context is entered already (`RuntimeError`), or what `body` reports.
pub(crate) fn run_in<R>(py: Python<'_>, context: &Object, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    // SAFETY: the thread is attached and the object is a context: callers check it where it comes from outside.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let outcome = body();
    // SAFETY: this context was entered above, and what `body` entered it has left. `outcome` holds the exception, so none
    // is set now.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    outcome
}
