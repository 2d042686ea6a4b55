//! Functions that CPython calls through a raw slot: results, exceptions and panics.
//!
//! No panic leaves a slot. Where the slot can fail, a panic is a `SystemError`; where it cannot (`tp_dealloc`,
//! `tp_finalize`), it is that of `sys.unraisablehook`, and the exception under way stays what it was; while the collector
//! looks (`tp_traverse`) it is a message on the standard error, since nothing of Python may run.
//!
//! Where PyO3 has no memory for a new object, it panics. That is a `MemoryError`, without a message of Rust's. So does the
//! failure of a call that has set no exception, which is the interpreter's `SystemError`.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyMemoryError, PySystemError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::c_api;
use crate::ffi::deferred;
use crate::ffi::guarded::assert_outside;
use crate::ffi::object::Object;

/// What PyO3 says when there is no memory for an object.
const NO_OBJECT: &str = "PyObject pointer is null";
/// What Rust says when something of Python's that a text is to name cannot be shown, for which PyO3 found no memory.
const NO_TEXT: &str = "a formatting trait implementation returned an error when the underlying stream did not";
/// What PyO3 says when a call has failed without an exception.
const NO_EXCEPTION: &str = "attempted to fetch exception but none was set";

/// Runs `body`; its error, or a panic, becomes Python's current exception and `failure` the result.
pub(crate) fn run<R>(py: Python<'_>, failure: R, body: impl FnOnce() -> PyResult<R>) -> R {
    match catch_unwind(AssertUnwindSafe(|| {
        assert_outside("a native function is called");
        body()
    })) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            restore(py, error);
            failure
        }
        Err(panic) => {
            restore(py, error_of(panic));
            failure
        }
    }
}

/// [`run`] for functions that return an object.
pub(crate) fn object(py: Python<'_>, body: impl FnOnce() -> PyResult<Object>) -> *mut ffi::PyObject {
    run(py, core::ptr::null_mut(), || body().map(Object::into_ptr))
}

/// Runs `body`; a panic is an error.
#[inline]
pub(crate) fn caught<R>(body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(error_of(panic)))
}

/// Runs the body of a slot that cannot fail. A panic goes to `sys.unraisablehook`.
#[inline]
pub(crate) fn release(py: Python<'_>, body: impl FnOnce()) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        assert_outside("an object is freed");
        body();
    }));
    if let Err(panic) = outcome {
        report(py, error_of(panic), None);
    }
}

/// Runs the body of the finalizer of `object`: the exception under way is set aside, and an error of `body` goes to
/// `sys.unraisablehook`.
pub(crate) fn finalize(object: &Bound<'_, PyAny>, body: impl FnOnce() -> PyResult<()>) {
    let _aside = Aside::take(object.py());
    if let Err(error) = caught(body) {
        report(object.py(), error, Some(object));
    }
    deferred::give_back(object.py());
}

/// Runs the body of a slot that the collector calls while it looks: what has not been shown when `body` panics is kept.
#[inline]
pub(crate) fn look(body: impl FnOnce() -> core::ffi::c_int) -> core::ffi::c_int {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(0)
}

/// Makes `error` the current exception.
#[cold]
pub(in crate::ffi) fn restore(py: Python<'_>, error: PyErr) {
    deferred::give_back(py);
    if catch_unwind(AssertUnwindSafe(|| error.restore(py))).is_err() {
        // The exception is made now, and there was no memory for what it says.
        // SAFETY: the thread is attached.
        unsafe { ffi::PyErr_NoMemory() };
    }
}

/// Tells `sys.unraisablehook`; the exception under way stays what it is.
#[cold]
pub(crate) fn report(py: Python<'_>, error: PyErr, object: Option<&Bound<'_, PyAny>>) {
    let _aside = Aside::take(py);
    restore(py, error);
    let object = object.map_or(core::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: an exception is set; a live object, or null.
    unsafe { c_api::PyErr_WriteUnraisable(object) };
}

/// The exception under way, set aside until this is dropped.
pub(crate) struct Aside<'py> {
    py: Python<'py>,
    #[cfg(Py_3_12)]
    exception: *mut ffi::PyObject,
    /// Class, value and traceback.
    #[cfg(not(Py_3_12))]
    exception: [*mut ffi::PyObject; 3],
}

impl<'py> Aside<'py> {
    #[cfg(Py_3_12)]
    pub(crate) fn take(py: Python<'py>) -> Self {
        // SAFETY: the thread is attached.
        Self { py, exception: unsafe { ffi::PyErr_GetRaisedException() } }
    }

    #[cfg(not(Py_3_12))]
    pub(crate) fn take(py: Python<'py>) -> Self {
        let mut exception = [core::ptr::null_mut(); 3];
        let [class, value, traceback] = &mut exception;
        // SAFETY: three places.
        unsafe { ffi::PyErr_Fetch(class, value, traceback) };
        Self { py, exception }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let _ = self.py;
        #[cfg(Py_3_12)]
        // SAFETY: what was fetched, given back once; null for none.
        unsafe {
            ffi::PyErr_SetRaisedException(self.exception);
        }
        #[cfg(not(Py_3_12))]
        {
            let [class, value, traceback] = self.exception;
            // SAFETY: what was fetched, given back once; null for none.
            unsafe { ffi::PyErr_Restore(class, value, traceback) };
        }
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cold]
#[expect(clippy::needless_pass_by_value, reason = "a panic ends here")]
fn error_of(panic: Box<dyn Any + Send>) -> PyErr {
    match text_of(&*panic) {
        NO_OBJECT => PyMemoryError::new_err(()),
        text if text.starts_with(NO_TEXT) => PyMemoryError::new_err(()),
        NO_EXCEPTION => no_exception(),
        text => PySystemError::new_err(format!("Ferrio has a bug, please report it: {text}")),
    }
}

/// What a call has failed with that has left no exception, as the interpreter says it.
#[cold]
fn no_exception() -> PyErr {
    PySystemError::new_err("error return without exception set")
}

/// The exception of a call that has failed. Where memory is short, some of the interpreter's leave none.
#[inline]
pub(crate) fn fetched(py: Python<'_>) -> PyErr {
    PyErr::take(py).unwrap_or_else(no_exception)
}

/// Keeps Rust from printing a message where PyO3 has no memory for an object, or finds no exception. Concerns the panics of
/// this module only: each extension module has a standard library of its own.
pub(crate) fn quiet_without_memory() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = text_of(panic.payload());
        if !matches!(text, NO_OBJECT | NO_EXCEPTION) && !text.starts_with(NO_TEXT) {
            others(panic);
        }
    }));
}
