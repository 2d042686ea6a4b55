//! What `object.__setattr__` and `object.__delattr__` do.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::c_api;

/// `object.__setattr__(object, name, value)`.
pub(crate) fn set<T>(object: &Bound<'_, T>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: live objects, the name a string.
    c_api::status(object.py(), unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) })
}

/// `object.__delattr__(object, name)`.
pub(crate) fn delete<T>(object: &Bound<'_, T>, name: &Bound<'_, PyString>) -> PyResult<()> {
    let nothing = core::ptr::null_mut();
    // SAFETY: live objects, the name a string; null stands for deletion.
    c_api::status(object.py(), unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), nothing) })
}
