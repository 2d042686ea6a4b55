//! The one door from the engine's errors to Python's exceptions.

use ferrio_engine::sys::Error;
use pyo3::exceptions::{PyBaseException, PyOSError};
use pyo3::prelude::*;
use pyo3::types::{PyNone, PyTuple};
use pyo3::{PyTypeInfo, ffi};

use super::c_api;
use super::object::Object;
use super::objects::OBJECTS;

/// The `OSError` that CPython would raise: two arguments, from which it picks the subclass.
pub(crate) fn os_error(py: Python<'_>, error: Error) -> PyErr {
    match os_error_object(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// `error`, with its exception made. Until then an error of PyO3's may be but a description, and looking at it (`value`,
/// `is_instance_of`) would make the exception detached: the GIL is released, and while the interpreter ends that panics.
pub(crate) fn made(py: Python<'_>, error: PyErr) -> PyErr {
    error.restore(py);
    PyErr::fetch(py)
}

/// The exception `class(text)`, made at once.
pub(crate) fn exception<E: PyTypeInfo>(py: Python<'_>, text: &str) -> PyResult<Object> {
    py.get_type::<E>().call1((text,)).map(Object::new)
}

/// Whether an `except class` would catch `exception`.
#[inline]
pub(crate) fn is_caught_by(exception: &Object, class: &Object) -> bool {
    let py = exception.py();
    c_api::PyErr_GivenExceptionMatches(exception.lend(py), class.lend(py)) != 0
}

/// The traceback of an exception.
pub(crate) fn traceback_of(exception: &Bound<'_, PyBaseException>) -> Option<Object> {
    c_api::PyException_GetTraceback(exception.as_borrowed())
}

/// Gives an exception another traceback, or none.
///
/// # Errors
/// `TypeError`: it is no traceback.
pub(crate) fn set_traceback(exception: &Bound<'_, PyBaseException>, traceback: Option<&Object>) -> PyResult<()> {
    let py = exception.py();
    let none = PyNone::get(py);
    let traceback = traceback.map_or_else(|| none.as_any().as_borrowed(), |traceback| traceback.lend(py));
    c_api::status(py, c_api::PyException_SetTraceback(exception.as_borrowed(), traceback))
}

fn os_error_object(py: Python<'_>, error: Error) -> PyResult<Bound<'_, PyAny>> {
    let errno = error.raw_os_error();
    let text = OBJECTS.os_strerror.bind(py)?.call1((errno,))?;
    py.get_type::<PyOSError>().call1(PyTuple::new(py, [errno.into_pyobject(py)?.into_any(), text])?)
}

/// Runs `body` while `exception` is the one being handled, as in an `except` block: `sys.exception()` and
/// `logging.exception()` find it.
pub(crate) fn while_handling<R>(_attached: Python<'_>, exception: &Bound<'_, PyAny>, body: impl FnOnce() -> R) -> R {
    // SAFETY: the thread is attached.
    let _handled = Handled(unsafe { c_api::PyErr_GetHandledException() });
    // SAFETY: a live exception; the interpreter takes a reference of its own.
    unsafe { ffi::PyErr_SetHandledException(exception.as_ptr()) };
    body()
}

/// What was being handled before, and is again when this is dropped.
struct Handled(Option<Object>);

impl Drop for Handled {
    fn drop(&mut self) {
        let before = self.0.as_ref().map_or(core::ptr::null_mut(), Object::as_ptr);
        // SAFETY: what was handled before, or null for nothing.
        unsafe { ffi::PyErr_SetHandledException(before) };
    }
}
