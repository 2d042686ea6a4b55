//! Functions that CPython calls through a raw slot: results, exceptions and panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::object::Object;

/// Runs `body`; its error, or a panic, becomes Python's current exception and `failure` the result.
///
/// # Safety
/// Called by CPython, so by an attached thread.
pub(crate) unsafe fn run<R>(failure: R, body: impl FnOnce(Python<'_>) -> PyResult<R>) -> R {
    // SAFETY: passed on to the caller.
    let py = unsafe { Python::assume_attached() };
    match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            error.restore(py);
            failure
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            PySystemError::new_err(format!("Ferrio has a bug, please report it: {text}")).restore(py);
            failure
        }
    }
}

/// [`run`] for functions that return an object.
///
/// # Safety
/// As for [`run`].
pub(crate) unsafe fn object(body: impl FnOnce(Python<'_>) -> PyResult<Object>) -> *mut ffi::PyObject {
    // SAFETY: passed on to the caller.
    unsafe { run(core::ptr::null_mut(), |py| body(py).map(Object::into_ptr)) }
}

/// Python's `None`.
pub(crate) fn none(py: Python<'_>) -> Object {
    Object::new(py.None().into_bound(py))
}
