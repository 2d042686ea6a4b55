//! Contexts: copying the current one, running in one.

use core::mem::ManuallyDrop;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::ffi::object::Object;

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
#[inline(always)]
#[expect(clippy::inline_always, reason = "around every step; the outcome would travel through memory")]
pub(crate) fn run_in<R>(py: Python<'_>, context: &Object, body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let entered = Entered::enter(py, context)?;
    match body() {
        Ok(result) => entered.exit(py).map(|()| result),
        Err(error) => Err(entered.exit_with(py, error)),
    }
}

/// A context that is entered. It is left in any case: when a panic passes, by the drop.
pub(super) struct Entered(*mut ffi::PyObject);

impl Entered {
    /// # Errors
    /// The context is entered already (`RuntimeError`).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call and a comparison, around every callback and step")]
    pub(super) fn enter(py: Python<'_>, context: &Object) -> PyResult<Self> {
        // SAFETY: the thread is attached and the object is a context: callers check it where it comes from outside.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 {
            Ok(Self(context.as_ptr()))
        } else {
            Err(PyErr::fetch(py))
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call and a comparison, around every callback and step")]
    pub(super) fn exit(self, py: Python<'_>) -> PyResult<()> {
        let context = ManuallyDrop::new(self).0;
        // SAFETY: this context was entered, and what was entered since has been left. No exception is set now.
        if unsafe { ffi::PyContext_Exit(context) } == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }

    /// After `error`, which comes back, unless leaving the context fails.
    #[cold]
    #[inline(never)]
    pub(super) fn exit_with(self, py: Python<'_>, error: PyErr) -> PyErr {
        self.exit(py).err().unwrap_or(error)
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        exit_in_panic(self.0);
    }
}

/// Not a part of the drop, for which the guard would have to lie in memory.
#[cold]
#[inline(never)]
fn exit_in_panic(context: *mut ffi::PyObject) {
    // SAFETY: it was entered, and what was entered since has been left.
    if unsafe { ffi::PyContext_Exit(context) } != 0 {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyErr_Clear() };
    }
}
