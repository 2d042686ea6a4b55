//! Text from the operating system.

use pyo3::ffi;
use pyo3::prelude::*;

use super::c_api;
use super::object::Object;

/// A path as `os.fsdecode` shows it.
pub(crate) fn decode_path(py: Python<'_>, path: &[u8]) -> PyResult<Object> {
    let length = ffi::Py_ssize_t::try_from(path.len())?;
    // SAFETY: so many bytes lie there.
    let text = unsafe { c_api::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), length) };
    c_api::object(py, text)
}
