//! What `object.__setattr__` and `object.__delattr__` do.

use core::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::trampoline::fetched;

/// `object.__setattr__(object, name, value)`.
pub(crate) fn set<T>(object: &Bound<'_, T>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: live objects, the name a string.
    done(object.py(), unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) })
}

/// `object.__delattr__(object, name)`.
pub(crate) fn delete<T>(object: &Bound<'_, T>, name: &Bound<'_, PyString>) -> PyResult<()> {
    let nothing = core::ptr::null_mut();
    // SAFETY: live objects, the name a string; null stands for deletion.
    done(object.py(), unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), nothing) })
}

fn done(py: Python<'_>, outcome: c_int) -> PyResult<()> {
    if outcome == 0 { Ok(()) } else { Err(fetched(py)) }
}
