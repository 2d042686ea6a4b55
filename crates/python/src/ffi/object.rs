//! A counted reference to a Python object, for the loop's own tables.
//!
//! PyO3's `Py` looks up at each drop whether its thread is attached, and defers the drop when PyO3 itself has not attached
//! it, which is so in every function that CPython calls through a raw slot. All of the loop's state is touched by
//! attached threads only, so an [`Object`] gives its reference back at once.
//!
//! # Invariants
//! 1. An `Object` is made, cloned and dropped by an attached thread.
//! 2. Dropping one may run any Python code: never inside [`Guarded::with`](crate::ffi::guarded::Guarded::with). Builds with debug
//!    assertions check it, and that nobody gets at the object there to call it.

use core::mem::ManuallyDrop;

use pyo3::prelude::*;
use pyo3::{Borrowed, PyTraverseError, PyVisit, ffi};

use crate::ffi::guarded::assert_outside;

/// See the module.
pub(crate) struct Object(ManuallyDrop<Py<PyAny>>);

impl Object {
    /// A new reference to what `pointer` shows, which must not be null.
    ///
    /// # Safety
    /// `pointer` is a live object, and the thread is attached.
    pub(crate) unsafe fn from_borrowed(pointer: *mut ffi::PyObject) -> Self {
        // SAFETY: passed on to the caller.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: passed on to the caller.
        let object = unsafe { Borrowed::from_ptr(py, pointer) };
        Self::new(object.to_owned())
    }

    /// Takes over the reference that `pointer` stands for; `None` for null.
    ///
    /// # Safety
    /// The caller owns the reference, and the thread is attached.
    pub(crate) unsafe fn from_owned(pointer: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: passed on to the caller.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: passed on to the caller.
        unsafe { Bound::from_owned_ptr_or_opt(py, pointer) }.map(Self::new)
    }

    /// Takes over a bound reference.
    pub(crate) fn new<T>(object: Bound<'_, T>) -> Self {
        Self(ManuallyDrop::new(object.into_any().unbind()))
    }

    /// The object, for as long as this reference lives.
    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        assert_outside("an object is used");
        self.0.bind(py)
    }

    /// The object's address; the reference stays here.
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Shows the object to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.0)
    }

    /// Hands the reference over to the caller.
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Hands the reference over as a bound one.
    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        assert_outside("an object is used");
        // SAFETY: `into_ptr` hands over a reference to a live object.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        // SAFETY: a live object (this reference) and an attached thread (invariant 1).
        unsafe { Self::from_borrowed(self.as_ptr()) }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        assert_outside("an object is dropped");
        // SAFETY: this reference is owned and given back once; the thread is attached (invariant 1).
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

// SAFETY: a reference may move to another thread: counting happens while attached only (invariant 1).
unsafe impl Send for Object {}
// SAFETY: sharing gives access to nothing but the address and, with an attached thread, the object.
unsafe impl Sync for Object {}
