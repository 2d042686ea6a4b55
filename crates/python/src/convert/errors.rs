//! The one door from the engine's errors to Python's exceptions.

use ferrio_engine::sys::Error;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The `OSError` that CPython would raise: two arguments, from which it picks the subclass.
pub(crate) fn os_error(py: Python<'_>, error: Error) -> PyErr {
    match os_error_object(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

fn os_error_object(py: Python<'_>, error: Error) -> PyResult<Bound<'_, PyAny>> {
    let errno = error.raw_os_error();
    let text = py.import("os")?.call_method1("strerror", (errno,))?;
    py.get_type::<PyOSError>().call1(PyTuple::new(py, [errno.into_pyobject(py)?.into_any(), text])?)
}

/// Runs `body` while `exception` is the one being handled, as in an `except` block: `sys.exception()` and
/// `logging.exception()` find it.
pub(crate) fn while_handling<R>(py: Python<'_>, exception: &Bound<'_, PyAny>, body: impl FnOnce() -> R) -> R {
    // SAFETY: the thread is attached.
    let before = unsafe { ffi::PyErr_GetHandledException() };
    // SAFETY: the call gave a new reference, or null for none.
    let before = unsafe { Bound::from_owned_ptr_or_opt(py, before) };
    // SAFETY: a live exception; the interpreter takes a reference of its own.
    unsafe { ffi::PyErr_SetHandledException(exception.as_ptr()) };
    let outcome = body();
    let before = before.as_ref().map_or(core::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: what was handled before, or null for nothing.
    unsafe { ffi::PyErr_SetHandledException(before) };
    outcome
}
