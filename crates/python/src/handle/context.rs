//! Contexts for the rooms that keep them as plain references.

use pyo3::prelude::*;

use crate::ffi::context::Context;
pub(crate) use crate::ffi::context::run_in;
use crate::ffi::object::Object;

/// A copy of the current context, O(1).
pub(crate) fn copy_current(py: Python<'_>) -> PyResult<Object> {
    Context::copy_current(py).map(Context::into_object)
}
