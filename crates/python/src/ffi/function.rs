//! Functions of Python.

use pyo3::ffi;

use super::object::Object;

/// Whether `function` is a function of Python, and `code` what it runs.
#[inline]
pub(crate) fn has_code(function: &Object, code: &Object) -> bool {
    if !function.has_class(&raw const ffi::PyFunction_Type) {
        return false;
    }
    // SAFETY: a function. The result is borrowed from it, and its address alone is looked at.
    let present = unsafe { ffi::PyFunction_GetCode(function.as_ptr()) };
    present == code.as_ptr()
}
